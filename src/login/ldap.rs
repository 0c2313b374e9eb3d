//! `ldap`: a user of a directory. Vault binds with the user's password.

use super::method::Method;
use super::userpass;

pub(super) const METHOD: Method = Method {
    name: "ldap",
    needs: "VAULT_USERNAME and VAULT_PASSWORD[_FILE]",
    reads: &["VAULT_USERNAME", "VAULT_PASSWORD", "VAULT_PASSWORD_FILE", "VAULT_AUTH_MOUNT"],
    find: |layers, settings| userpass::find(&METHOD, HINT, layers, settings),
};

const HINT: &str = "are user name and password right, and does Vault reach the directory? Five \
                    wrong passwords lock the user for 15 minutes; the mount may be another \
                    (VAULT_AUTH_MOUNT)";
