//! The steps for each kind of device, in the words of its own menus, and the scripts that do them.

use super::Platform;
use crate::ca::Root;

/// What to do with the files.
pub(super) fn steps(platform: Platform) -> &'static str {
    match platform {
        Platform::Windows => {
            "A domain: Group Policy Management, the policy of the pupils' computers, Edit, then Computer Configuration,\n\
             Policies, Windows Settings, Security Settings, Public Key Policies, Trusted Root Certification Authorities,\n\
             right click, Import, bulaq-root.cer. `gpupdate /force` on a computer takes it at once.\n\n\
             One computer: as administrator, powershell -ExecutionPolicy Bypass -File install.ps1\n\
             It compares the fingerprint before it installs. Edge and Chrome use it; Firefox does from version 120 on.\n"
        }
        Platform::Apple => {
            "Managed devices: give bulaq-root.mobileconfig to your device management; it is trusted at once.\n\n\
             One iPhone or iPad, by hand: open the file, then Settings, General, VPN & Device Management, the profile,\n\
             Install. Then Settings, General, About, Certificate Trust Settings, and switch the certificate on: without\n\
             this second step nothing trusts it. One Mac: open the file, then System Settings, Privacy & Security,\n\
             Profiles.\n"
        }
        Platform::Android => {
            "Managed devices: add bulaq-root.crt as a CA certificate in your device management (Wi-Fi and apps).\n\n\
             One device, by hand: Settings, Security, More security settings, Encryption & credentials, Install a\n\
             certificate, CA certificate, Install anyway, bulaq-root.crt. Names of menus differ by maker; search the\n\
             settings for \"certificate\". A screen lock is needed.\n\n\
             What it cannot do: Chrome and other browsers use it; most apps don't, since Android 7. Apps of lesson sites\n\
             then go past the box's store, untouched. From Android 11 on an app cannot install it for the user. The\n\
             device shows \"Network may be monitored\": it says so for every CA that is added, whatever it can vouch for.\n\
             For phones that belong to pupils, install nothing: they reach lessons without it.\n"
        }
        Platform::Firefox => {
            "From version 120 on Firefox takes the roots of Windows, macOS and Android by itself: there, nothing is needed.\n\n\
             Linux, or older versions: copy policies.json into the folder `distribution` beside the program (Linux also:\n\
             /etc/firefox/policies/), and bulaq-root.pem into /usr/lib/mozilla/certificates/ (Windows:\n\
             %USERPROFILE%\\AppData\\Local\\Mozilla\\Certificates, macOS: /Library/Application Support/Mozilla/Certificates).\n\
             about:policies then shows it, and about:certificates lists it under Authorities. If there is a policies.json\n\
             already, add the key Certificates to it.\n"
        }
        Platform::ChromeOs => {
            "Managed Chromebooks: admin.google.com, Devices, Networks, the organizational unit of the pupils, Certificates,\n\
             Add certificate, bulaq-root.pem, and tick \"Enabled for Chromebook\" (certificate authority). Devices take it at\n\
             the next policy refresh; chrome://policy, Reload, takes it at once.\n\n\
             One Chromebook, by hand: chrome://certificate-manager (older: Settings, Privacy and security, Security,\n\
             Manage certificates), Authorities, Import, and tick \"Trust this certificate for identifying websites\".\n\
             Android apps on it don't use it.\n"
        }
        Platform::Linux => {
            "As root: sh install.sh\n\
             It compares the fingerprint, then installs for programs that use the system's roots (curl, and many others):\n\
             Debian, Ubuntu   copy to /usr/local/share/ca-certificates/bulaq-root.crt; update-ca-certificates\n\
             Fedora, RHEL, SUSE, Arch   trust anchor bulaq-root.crt\n\n\
             Chrome and Chromium have a store for each user instead (package libnss3-tools or nss-tools):\n  \
             certutil -A -d sql:$HOME/.pki/nssdb -t C,, -n bulaq-root -i bulaq-root.crt\n\
             Firefox: see `bulaq ca export --for firefox`.\n"
        }
    }
}

/// How it goes away again.
pub(super) fn removal(platform: Platform) -> &'static str {
    match platform {
        Platform::Windows => {
            "take it out of the policy; on one computer, certlm.msc, Trusted Root Certification Authorities, delete it."
        }
        Platform::Apple => "remove the profile where you installed it.",
        Platform::Android => "Settings, Encryption & credentials, User credentials, remove it.",
        Platform::Firefox => {
            "take it out of policies.json; about:certificates, Authorities, delete it where it is still listed."
        }
        Platform::ChromeOs => "delete it where you added it.",
        Platform::Linux => {
            "rm /usr/local/share/ca-certificates/bulaq-root.crt and update-ca-certificates --fresh; or trust anchor\n\
             --remove bulaq-root.crt; certutil -D -d sql:$HOME/.pki/nssdb -n bulaq-root"
        }
    }
}

/// Installs on one Windows computer, after comparing the fingerprint.
pub(super) fn powershell(root: &Root) -> String {
    format!(
        "# Installs the root certificate of the school's lesson cache for all users of this computer.\n\
         #Requires -RunAsAdministrator\n\
         $ErrorActionPreference = 'Stop'\n\
         $file = Join-Path $PSScriptRoot 'bulaq-root.cer'\n\
         # Compare this line with the district's paper.\n\
         $expected = '{}'\n\
         $hash = (Get-FileHash -Algorithm SHA256 -Path $file).Hash\n\
         if ($hash -ne $expected.Replace(':', '')) {{ throw \"$file is not the certificate that was meant\" }}\n\
         Import-Certificate -FilePath $file -CertStoreLocation Cert:\\LocalMachine\\Root\n",
        root.sha256
    )
    .replace('\n', "\r\n")
}

/// Installs on one Linux computer, after comparing the fingerprint.
pub(super) fn shell(root: &Root) -> String {
    format!(
        r#"#!/bin/sh
# Installs the root certificate of the school's lesson cache for all users of this computer.
set -eu
cd "$(dirname "$0")"
# Compare this line with the district's paper.
expected='{}'
found=$(openssl x509 -in bulaq-root.crt -noout -fingerprint -sha256)
if [ "${{found#*=}}" != "$expected" ]; then
    echo "bulaq-root.crt is not the certificate that was meant" >&2
    exit 1
fi
if command -v update-ca-certificates >/dev/null 2>&1; then
    install -D -m 0644 bulaq-root.crt /usr/local/share/ca-certificates/bulaq-root.crt
    update-ca-certificates
else
    trust anchor bulaq-root.crt
fi
"#,
        root.sha256
    )
}

/// The enterprise policy of Firefox.
pub(super) fn firefox_policies() -> String {
    let policies = serde_json::json!({ "policies": { "Certificates": { "Install": ["bulaq-root.pem"] } } });
    format!("{policies:#}\n")
}
