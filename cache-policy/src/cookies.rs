//! Cookies by their names: which ones a server may look at, and which ones look like a session.

use http::header::{COOKIE, HeaderMap};

use crate::field::MEMBERS_MAX;

/// What the names of a request's cookies tell. Values are never looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cookies {
    /// No cookie.
    None,
    /// Only cookies of visitor counters, which scripts in the browser set and read and no server looks at.
    Counters,
    /// Some other cookie, which may decide what the server answers.
    Other,
    /// A cookie that looks like a session, a login or an anti-forgery token.
    Session,
}

impl Cookies {
    /// Classifies the cookies of a request; the gravest one counts.
    pub fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(COOKIE) {
            return Self::None;
        }
        let pairs = || headers.get_all(COOKIE).into_iter().flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
        if pairs().nth(MEMBERS_MAX).is_some() {
            return Self::Session;
        }
        pairs()
            .map(|pair| pair.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii())
            .filter(|name| !name.is_empty())
            .map(|name| Self::named(&name.to_ascii_lowercase()))
            .max()
            .unwrap_or(Self::None)
    }

    fn named(name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        let is_counter = |pattern: &&str| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == **pattern,
        };
        if COUNTER_COOKIES.iter().any(is_counter) {
            return Self::Counters;
        }
        let is_session = SESSION_COOKIE_PARTS.iter().any(|part| name.contains(part))
            || SESSION_COOKIE_ENDS.iter().any(|end| name.ends_with(end));
        if is_session { Self::Session } else { Self::Other }
    }

    /// Whether a server may decide by one of these cookies what to answer.
    pub fn may_decide_content(self) -> bool {
        self >= Self::Other
    }
}

/// Cookies of Google Analytics and its ads, Yandex Metrica, top.mail.ru, Matomo, Facebook, Hotjar and Clarity: set by
/// scripts for scripts. Lower case; `*` stands for any ending.
pub const COUNTER_COOKIES: [&str; 24] = [
    "_ga",
    "_ga_*",
    "_gat",
    "_gat_*",
    "_gid",
    "_gac_*",
    "_gcl_*",
    "__utma",
    "__utmb",
    "__utmc",
    "__utmt",
    "__utmv",
    "__utmz",
    "_ym_*",
    "tmr_*",
    "_pk_id.*",
    "_pk_ses.*",
    "_pk_ref.*",
    "_fbp",
    "_fbc",
    "_hjsessionuser_*",
    "_hjsession_*",
    "_clck",
    "_clsk",
];

/// What a session-like cookie's name contains, in lower case: PHPSESSID, JSESSIONID, MoodleSession, laravel_session,
/// wordpress_logged_in, wp-postpass, .ASPXAUTH, csrftoken, XSRF-TOKEN, remember_me and their like.
pub const SESSION_COOKIE_PARTS: [&str; 14] = [
    "sess", "auth", "token", "login", "logged", "remember", "jwt", "csrf", "xsrf", "pass", "user", "account", "sso",
    "ticket",
];

/// What a session-like cookie's name ends with, in lower case: `sid`, `connect.sid`, `CONCRETE5_uid`.
pub const SESSION_COOKIE_ENDS: [&str; 3] = ["sid", "uid", "identity"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::fields;

    #[test]
    fn the_names_of_cookies_tell() {
        for (line, expected) in [
            ("", Cookies::None),
            (" ; ", Cookies::None),
            (
                "_ga=1; _ga_X1=2; _gid=3; _ym_uid=4; __utma=5; _pk_ses.1.ab=6; tmr_lvid=7; _hjSession_1=8",
                Cookies::Counters,
            ),
            ("lang=kk", Cookies::Other),
            ("_ga=1; lang=kk", Cookies::Other),
            ("_galaxy=1", Cookies::Other),
            ("novalue", Cookies::Other),
            ("PHPSESSID=x", Cookies::Session),
            ("JSESSIONID=x", Cookies::Session),
            ("MoodleSession=x", Cookies::Session),
            ("laravel_session=x", Cookies::Session),
            ("wordpress_logged_in_5f=x", Cookies::Session),
            ("wp-postpass_5f=x", Cookies::Session),
            (".ASPXAUTH=x", Cookies::Session),
            ("connect.sid=x", Cookies::Session),
            ("csrftoken=x", Cookies::Session),
            ("XSRF-TOKEN=x", Cookies::Session),
            ("remember_web=x", Cookies::Session),
            ("lang=kk; _gateway_session=x", Cookies::Session),
        ] {
            assert_eq!(Cookies::of(&fields(&[("cookie", line)])), expected, "{line}");
        }
        let two_lines = fields(&[("cookie", "a=1"), ("cookie", "sid=2")]);
        assert_eq!(Cookies::of(&two_lines), Cookies::Session);
        let many = vec!["a=1"; MEMBERS_MAX + 1].join(";");
        assert_eq!(Cookies::of(&fields(&[("cookie", &many)])), Cookies::Session);
    }
}
