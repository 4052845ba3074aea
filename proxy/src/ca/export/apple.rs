//! A configuration profile for iPhone, iPad and Mac: a property list that holds the certificate.

use super::base64_lines;
use crate::ca::Root;
use crate::ca::authority::sha256;

/// The profile (`.mobileconfig`). Its identifiers come from the certificate, so that the same root is the same profile
/// wherever it is made, and another root is another one.
pub(super) fn profile(root: &Root, der: &[u8]) -> String {
    let (outer, inner) = (uuid(der, b"profile"), uuid(der, b"certificate"));
    let short = root.sha256[..8].replace(':', "").to_ascii_lowercase();
    let certificate = base64_lines(der, "\t\t\t");
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>PayloadContent</key>
	<array>
		<dict>
			<key>PayloadCertificateFileName</key>
			<string>bulaq-root.cer</string>
			<key>PayloadContent</key>
			<data>
{certificate}			</data>
			<key>PayloadDescription</key>
			<string>Adds the root certificate of the school's lesson cache</string>
			<key>PayloadDisplayName</key>
			<string>Lesson cache root {short}</string>
			<key>PayloadIdentifier</key>
			<string>internal.bulaq.root.{short}.certificate</string>
			<key>PayloadType</key>
			<string>com.apple.security.root</string>
			<key>PayloadUUID</key>
			<string>{inner}</string>
			<key>PayloadVersion</key>
			<integer>1</integer>
		</dict>
	</array>
	<key>PayloadDescription</key>
	<string>Lets this device take lessons from the school's lesson cache. It can vouch for lesson sites and for nothing else. SHA-256 {sha256}</string>
	<key>PayloadDisplayName</key>
	<string>School lesson cache</string>
	<key>PayloadIdentifier</key>
	<string>internal.bulaq.root.{short}</string>
	<key>PayloadRemovalDisallowed</key>
	<false/>
	<key>PayloadType</key>
	<string>Configuration</string>
	<key>PayloadUUID</key>
	<string>{outer}</string>
	<key>PayloadVersion</key>
	<integer>1</integer>
</dict>
</plist>
"#,
        sha256 = root.sha256,
    )
}

/// A UUID from a hash (RFC 9562 §5.8, version 8).
fn uuid(der: &[u8], what: &[u8]) -> String {
    let mut bytes = sha256(&[what, der].concat());
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes[..16].iter().map(|byte| format!("{byte:02X}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
