//! HLS playlists (RFC 8216): each line a reference, or a tag with `URI="…"` in it.

use super::css::NOTHING;
use super::map::{Map, Mapped};

/// Longest line that is read as a whole; a key in a `data:` address is the longest there is.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// A playlist on its way.
#[derive(Debug, Default)]
pub(super) struct Playlist {
    line: String,
    /// Whether the present line is too long, and what comes of it goes out as it is.
    is_too_long: bool,
}

impl Playlist {
    /// Takes more of the playlist, and writes what is complete.
    pub(super) fn push(&mut self, text: &str, map: &Map, out: &mut String) {
        for part in text.split_inclusive(['\n', '\r']) {
            self.line.push_str(part);
            let is_whole = part.ends_with(['\n', '\r']);
            if is_whole || self.line.len() > LINE_BYTES_MAX {
                self.write(map, out);
                self.is_too_long = !is_whole;
            }
        }
    }

    /// Writes what is left.
    pub(super) fn end(&mut self, map: &Map, out: &mut String) {
        self.write(map, out);
    }

    fn write(&mut self, map: &Map, out: &mut String) {
        let line = std::mem::take(&mut self.line);
        if self.is_too_long || line.len() > LINE_BYTES_MAX {
            out.push_str(&line);
            return;
        }
        let text = line.trim_end_matches(['\n', '\r']);
        let ending = &line[text.len()..];
        if text.starts_with('#') {
            tag(text, map, out);
        } else {
            out.push_str(&mapped(text, map));
        }
        out.push_str(ending);
    }
}

fn mapped(reference: &str, map: &Map) -> String {
    match map.reference(reference) {
        Mapped::Kept => reference.to_owned(),
        Mapped::To(address) => address,
        Mapped::Outside(_) => NOTHING.to_owned(),
    }
}

/// A tag with the address of its `URI` attribute mapped.
fn tag(line: &str, map: &Map, out: &mut String) {
    let mut rest = line;
    while let Some(at) = rest.find("URI=\"") {
        let (before, after) = rest.split_at(at + "URI=\"".len());
        let end = after.find('"').unwrap_or(after.len());
        out.push_str(before);
        out.push_str(&mapped(&after[..end], map));
        rest = &after[end..];
    }
    out.push_str(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::map;
    use super::*;

    fn rewritten(pieces: &[&str]) -> String {
        let (mut playlist, mut out, map) = (Playlist::default(), String::new(), map());
        pieces.iter().for_each(|piece| playlist.push(piece, &map, &mut out));
        playlist.end(&map, &mut out);
        out
    }

    #[test]
    fn lines_and_tags_are_mapped() {
        let a = "http://a-kz.lessons.school.example";
        for (playlist, expected) in [
            ("#EXTM3U\nseg.ts\nhttps://a.kz/seg.ts", format!("#EXTM3U\nseg.ts\n{a}/seg.ts")),
            (
                "#EXT-X-KEY:METHOD=AES-128,URI=\"https://a.kz/key\",IV=0x1\r\n",
                format!("#EXT-X-KEY:METHOD=AES-128,URI=\"{a}/key\",IV=0x1\r\n"),
            ),
            ("//games.example/x\n", "about:blank\n".to_owned()),
            ("# https://a.kz/\n", "# https://a.kz/\n".to_owned()),
        ] {
            assert_eq!(rewritten(&[playlist]), expected);
        }
        let long = format!("{}\nhttps://a.kz/x", "x".repeat(2 * LINE_BYTES_MAX));
        assert!(rewritten(&[&long]) == long.replace("https://a.kz", a));
    }

    proptest! {
        #[test]
        fn the_output_does_not_depend_on_how_the_input_comes(text in "(#|URI=\"|\"|\n|\r|https://a\\.kz/|x|ж){0,30}", at in 0usize..200) {
            let at = text.floor_char_boundary(at.min(text.len()));
            prop_assert_eq!(rewritten(&[&text[..at], &text[at..]]), rewritten(&[&text]));
        }
    }
}
