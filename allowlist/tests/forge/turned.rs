use bulaq_allowlist::Permit;

fn turned_to_another_port(mut permit: Permit) -> Permit {
    permit.port = 22;
    permit
}

fn main() {
    turned_to_another_port(Permit::default());
}
