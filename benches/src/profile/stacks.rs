//! Stacks as `perf script` prints them, read and cleaned.

/// One sample: where the processor was, the innermost frame last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stack {
    pub(super) frames: Vec<Frame>,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Frame {
    /// As the linker knows it, without the types that fill it in.
    pub(super) name: String,
    pub(super) is_kernel: bool,
}

/// What the unwinder prints when it has come to the end of what was kept of a stack.
const END: &str = "ffffffffffffffff";

/// Frames of a stack that are read; deeper ones are the same futures again.
const FRAMES_MAX: usize = 256;

/// Reads what `perf script -F comm,ip,sym` prints: blocks of a name and frames, innermost first.
pub(super) fn parse(text: &str) -> Vec<Stack> {
    let mut stacks = Vec::new();
    for block in text.split("\n\n") {
        let lines = block.lines().filter(|line| line.starts_with(['\t', ' ']) && !line.trim().is_empty());
        let mut frames: Vec<Frame> = lines.take(FRAMES_MAX).filter_map(parse_frame).collect();
        frames.reverse();
        if !frames.is_empty() {
            stacks.push(Stack { frames });
        }
    }
    stacks
}

fn parse_frame(line: &str) -> Option<Frame> {
    let (address, name) = line.trim().split_once(' ').unwrap_or((line.trim(), "[unknown]"));
    if address == END {
        return None;
    }
    let is_kernel = address.len() == 16 && address.starts_with("ffff");
    Some(Frame { name: without_types(name), is_kernel })
}

/// A name without what stands between angle brackets within it; the brackets around the whole type stay:
/// `<a::B<C> as d::E<F>>::g` is `<a::B as d::E>::g`.
fn without_types(name: &str) -> String {
    let mut short = String::with_capacity(name.len());
    let mut depth = 0_usize;
    let mut is_qualified = false;
    let mut before = ' ';
    for letter in name.chars() {
        match letter {
            '<' if depth == 0 && (short.is_empty() || before == ' ' || before == '&') && !is_qualified => {
                is_qualified = true;
                short.push(letter);
            }
            '<' => depth += 1,
            '>' if before == '-' => {
                // An arrow of a function's type.
                if depth == 0 {
                    short.push(letter);
                }
            }
            '>' if depth > 0 => depth -= 1,
            '>' => short.push(letter),
            _ if depth > 0 => {}
            _ => short.push(letter),
        }
        before = letter;
    }
    short.replace("::{{closure}}", "").replace("::::", "::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_types() {
        for (name, short) in [
            ("malloc", "malloc"),
            ("hyper::proto::h1::conn::Conn<I,B,T>::poll_read_head", "hyper::proto::h1::conn::Conn::poll_read_head"),
            ("<a::B<C<D>> as d::E<F>>::g", "<a::B as d::E>::g"),
            ("bulaq::request::respond::answer::{{closure}}", "bulaq::request::respond::answer"),
            ("<&mio::net::TcpStream as std::io::Write>::write", "<&mio::net::TcpStream as std::io::Write>::write"),
            ("core::ptr::drop_in_place<fn(a) -> b>", "core::ptr::drop_in_place"),
            ("f<a::{{closure}}>::{{closure}}", "f"),
        ] {
            assert_eq!(without_types(name), short);
        }
    }

    #[test]
    fn blocks_become_stacks_with_the_innermost_last() {
        let text = "tokio-rt-worker \n\tffffffff82011d89 tcp_recvmsg\n\t          10a974 __libc_recv\n\
                    \tffffffffffffffff [unknown]\n\ntokio-rt-worker \n\t           98a77 malloc\n\n\nempty \n\n";
        let stacks = parse(text);
        let told: Vec<Vec<(&str, bool)>> = stacks
            .iter()
            .map(|stack| stack.frames.iter().map(|frame| (frame.name.as_str(), frame.is_kernel)).collect())
            .collect();
        assert_eq!(told, [vec![("__libc_recv", false), ("tcp_recvmsg", true)], vec![("malloc", false)]]);
    }
}
