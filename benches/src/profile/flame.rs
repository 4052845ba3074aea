//! A flame graph: stacks side by side, as wide as the time spent in them, as one SVG without a script.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::stacks::Stack;

const WIDTH: f64 = 1200.0;
const ROW: f64 = 16.0;
const MARGIN: f64 = 10.0;

/// What is narrower is left out, as a share of the whole: it could not be seen.
const LEAST_SHARE: f64 = 0.001;

/// How wide a letter is.
const LETTER: f64 = 6.6;

/// With room for fewer, a frame has no name on it.
const LETTERS_MIN: usize = 4;

#[derive(Default)]
struct Node {
    count: usize,
    within: BTreeMap<(String, bool), Self>,
}

/// The graph of these stacks.
pub(super) fn graph(title: &str, stacks: &[Stack]) -> String {
    let mut root = Node::default();
    for stack in stacks {
        root.count += 1;
        let mut node = &mut root;
        for frame in &stack.frames {
            node = node.within.entry((frame.name.clone(), frame.is_kernel)).or_default();
            node.count += 1;
        }
    }
    let total = root.count.max(1);
    let rows = depth(&root, total) + 1;
    let height = rows as f64 * ROW + 3.0 * MARGIN + ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" \
         font-size=\"11\">\n<style>g:hover rect {{ stroke: #000 }} text {{ pointer-events: none }}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{MARGIN}\" y=\"{}\" font-size=\"14\">{}</text>\n",
        MARGIN + 12.0,
        escaped(title),
    );
    let bottom = height - MARGIN - ROW;
    draw(&mut svg, ("all", false), &root, MARGIN, bottom, total);
    svg.push_str("</svg>\n");
    svg
}

fn is_seen(node: &Node, total: usize) -> bool {
    node.count as f64 / total as f64 >= LEAST_SHARE
}

/// How many rows stand on this one.
fn depth(node: &Node, total: usize) -> usize {
    let seen = node.within.values().filter(|within| is_seen(within, total));
    seen.map(|within| depth(within, total) + 1).max().unwrap_or(0)
}

fn draw(svg: &mut String, (name, is_kernel): (&str, bool), node: &Node, left: f64, top: f64, total: usize) {
    let share = node.count as f64 / total as f64;
    let width = share * (WIDTH - 2.0 * MARGIN);
    let _ = write!(
        svg,
        "<g><title>{}, {:.1} %</title><rect x=\"{left:.1}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"{:.0}\" \
         fill=\"{}\"/>",
        escaped(name),
        share * 100.0,
        ROW - 1.0,
        colour(name, is_kernel)
    );
    let letters = (width / LETTER) as usize;
    if letters >= LETTERS_MIN {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            left + 2.0,
            top + 11.0,
            escaped(&short(name, letters))
        );
    }
    svg.push_str("</g>\n");
    let mut left = left;
    for ((name, is_kernel), within) in &node.within {
        if is_seen(within, total) {
            draw(svg, (name, *is_kernel), within, left, top - ROW, total);
        }
        left += within.count as f64 / total as f64 * (WIDTH - 2.0 * MARGIN);
    }
}

/// A name that has room for this many letters: the end says more than the beginning.
fn short(name: &str, letters: usize) -> String {
    let count = name.chars().count();
    if count <= letters {
        return name.to_owned();
    }
    let end: String = name.chars().skip(count - (letters - 1)).collect();
    format!("…{end}")
}

/// Ours, the system's, the rest.
fn colour(name: &str, is_kernel: bool) -> &'static str {
    if is_kernel {
        "#b9c4d4"
    } else if name.trim_start_matches(['<', '&']).starts_with("bulaq") {
        "#f0a040"
    } else {
        "#f5dd8a"
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::super::stacks::Frame;
    use super::*;

    fn stack(names: &[&str]) -> Stack {
        Stack { frames: names.iter().map(|&name| Frame { name: name.to_owned(), is_kernel: false }).collect() }
    }

    #[test]
    fn frames_are_as_wide_as_their_share() {
        let mut stacks = vec![stack(&["main", "<a as b>::c"]); 750];
        stacks.extend(vec![stack(&["main", "bulaq::x"]); 250]);
        stacks.push(stack(&["main", "bulaq::x", "too::small"]));
        let svg = graph("A & B", &stacks);
        for part in [
            "A &amp; B",
            "<title>all, 100.0 %</title><rect x=\"10.0\"",
            "<title>main, 100.0 %</title>",
            "<title>&lt;a as b&gt;::c, 74.9 %</title><rect x=\"10.0\"",
            "<title>bulaq::x, 25.1 %</title><rect x=\"894.1\"",
            "#f0a040",
        ] {
            assert!(svg.contains(part), "{part} in\n{svg}");
        }
        assert!(!svg.contains("too::small"), "what cannot be seen is left out");
        assert_eq!(svg.matches("<g>").count(), svg.matches("</g>").count());
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        assert_eq!(short("a::b::poll", 10), "a::b::poll");
        assert_eq!(short("a::b::poll", 5), "…poll");
    }
}
