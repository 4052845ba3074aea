use bulaq_allowlist::{HostName, Permit};

fn made_of_another(permit: Permit) -> Permit {
    let host = HostName::parse("bank.example").unwrap();
    Permit { host, ..permit }
}

fn main() {
    let _ = made_of_another;
}
