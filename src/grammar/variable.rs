//! The names of variables that an import may have (pure).

/// Returns whether an import may have this name: `[A-Za-z_][A-Za-z0-9_.-]*`. A shell turns other
/// names into functions, and a line break in a name forges a line in the output of a program that
/// prints the environment.
pub(crate) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Returns whether a variable of this name controls a process, or vault-exec itself. Such a
/// variable is never imported.
///
/// Whoever may write a secret must not decide what code the application runs, whom it trusts, where
/// it connects, or which configuration it reads.
pub(crate) fn controls_a_process(name: &str) -> bool {
    let fits = |pattern: &&str| fits(pattern.as_bytes(), name.as_bytes());
    let upper = name.to_ascii_uppercase();
    CONTROLLING.iter().any(fits)
        || IN_ANY_CASE.iter().any(|pattern| self::fits(pattern.as_bytes(), upper.as_bytes()))
}

/// Names that control a process. `*` stands for any text.
pub const CONTROLLING: &[&str] = &[
    // Our own.
    "VAULT_*",
    "BAO_*",
    // What every program and every shell reads (environ(7), sh(1), bash(1), zshparam(1)).
    "PATH",
    "HOME",
    "SHELL",
    "TMPDIR",
    "XDG_*",
    "IFS",
    "ENV",
    "CDPATH",
    "FPATH",
    "ZDOTDIR",
    "BASH_*",
    "BASHOPTS",
    "SHELLOPTS",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS4",
    // The loader and the C library: what they ignore in programs with more privileges than their
    // caller (ld.so(8), `sysdeps/generic/unsecvars.h` of glibc), and the equivalents in musl and in
    // the sanitizers.
    "LD_*",
    "DYLD_*",
    "GLIBC_TUNABLES",
    "GCONV_PATH",
    "GETCONF_DIR",
    "HOSTALIASES",
    "LOCALDOMAIN",
    "LOCPATH",
    "MUSL_LOCPATH",
    "MALLOC_*",
    "NIS_PATH",
    "NLSPATH",
    "RESOLV_HOST_CONF",
    "RES_OPTIONS",
    "TZDIR",
    "TERMCAP",
    "TERMINFO*",
    "*SAN_OPTIONS",
    // Programs that other programs start.
    "EDITOR",
    "VISUAL",
    "PAGER",
    "MANPAGER",
    "PSQL_*",
    "PSQLRC",
    "LESSOPEN",
    "LESSCLOSE",
    "BROWSER",
    "SSH_ASKPASS*",
    "SUDO_ASKPASS",
    "GIT_*",
    // Whom TLS trusts, and where it writes its keys.
    "SSL_CERT_*",
    "*_CA_BUNDLE",
    "SSLKEYLOGFILE",
    "OPENSSL_*",
    "CURL_HOME",
    "WGETRC",
    "KRB5_CONFIG",
    "LDAPCONF",
    "LDAPRC",
    // Client configuration that names programs to run.
    "KUBECONFIG",
    "DOCKER_CONFIG",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "BOTO_CONFIG",
    "CLOUDSDK_CONFIG",
    "CLOUDSDK_PYTHON*",
    // Interpreters and runtimes.
    "NODE_OPTIONS",
    "NODE_PATH",
    "NODE_EXTRA_*",
    "NODE_REPL_*",
    "NODE_TLS_*",
    "NODE_V8_*",
    "NODE_COMPILE_CACHE",
    "BUN_OPTIONS",
    "BUN_INSPECT*",
    "DENO_CERT",
    "DENO_TLS_*",
    "PYTHON*",
    "GUNICORN_CMD_ARGS",
    "PERL*",
    "RUBY*",
    "GEM_HOME",
    "GEM_PATH",
    "BUNDLE_GEMFILE",
    "BUNDLE_PATH",
    "BUNDLE_BIN*",
    "*JAVA*_OPTIONS",
    "*JAVA_OPTS",
    "JAVA_ARGS",
    "JAVA_HOME",
    "JRE_HOME",
    "JVM_*",
    "CLASSPATH",
    "CATALINA_*",
    "MAVEN_OPTS",
    "GRADLE_OPTS",
    "KAFKA_OPTS",
    "DOTNET_*",
    "COR_*",
    "CORECLR_*",
    "COMPlus_*",
    "ASPNETCORE_HOSTINGSTARTUP*",
    "PHP*",
    "LUA_*",
    "ERL_*",
    "ELIXIR_ERL_OPTIONS",
    "R_PROFILE*",
    "R_ENVIRON*",
    "R_LIBS*",
    "JULIA_*",
    "TCLLIBPATH",
    "GUILE_*",
    "GHCRTS",
    "OCAMLRUNPARAM",
    "CAML_LD_LIBRARY_PATH",
    "GODEBUG",
    "GOFLAGS",
    "GOPATH",
    "GOROOT",
    // Modules that libraries load.
    "GIO_*",
    "GTK_*",
    "QT_*",
    "GST_*",
    "MAGICK_*",
    "GS_LIB",
    "GS_OPTIONS",
    "CUDA_INJECTION*",
];

/// Names of the same kind that are read in any case, in upper case here.
pub const IN_ANY_CASE: &[&str] = &["*_PROXY", "NPM_CONFIG_*"];

fn fits(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => {
            (0..=name.len()).any(|at| name.get(at..).is_some_and(|behind| fits(rest, behind)))
        }
        Some((byte, rest)) => {
            name.split_first().is_some_and(|(first, others)| first == byte && fits(rest, others))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_import_may_be_called() {
        for name in ["a", "A", "_", "_1", "DB_PASSWORD", "db.host-name", "a--", "tls.crt"] {
            assert!(is_name(name), "{name}");
        }
        for name in [
            "",
            "1",
            "1a",
            "-a",
            ".a",
            "a b",
            " a",
            "a=b",
            "a\nb",
            "a\0",
            "a%",
            "a%%",
            "a()",
            "ä",
            "gr\u{fc}n",
            "a/b",
            "a\u{202e}",
        ] {
            assert!(!is_name(name), "{name:?}");
        }
    }

    /// Each of them was tried with the program that reads it, or is in that program's manual.
    #[test]
    fn names_that_control_a_process() {
        for name in [
            "PATH",
            "IFS",
            "ENV",
            "HOME",
            "TMPDIR",
            "BASH_ENV",
            "BASH_FUNC_cd%%",
            "SHELLOPTS",
            "BASHOPTS",
            "PS4",
            "PROMPT_COMMAND",
            "LD_PRELOAD",
            "LD_",
            "GLIBC_TUNABLES",
            "GCONV_PATH",
            "MALLOC_CHECK_",
            "GIT_SSH_COMMAND",
            "HTTPS_PROXY",
            "https_proxy",
            "No_Proxy",
            "ALL_PROXY",
            "VAULT_HTTP_PROXY",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "AWS_CA_BUNDLE",
            "CURL_CA_BUNDLE",
            "OPENSSL_CONF",
            "NODE_OPTIONS",
            "NODE_EXTRA_CA_CERTS",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "PERL5DB",
            "PERL5OPT",
            "RUBYOPT",
            "RUBYLIB",
            "JAVA_TOOL_OPTIONS",
            "_JAVA_OPTIONS",
            "JDK_JAVA_OPTIONS",
            "IBM_JAVA_OPTIONS",
            "JAVA_OPTS",
            "ES_JAVA_OPTS",
            "DOTNET_STARTUP_HOOKS",
            "COR_PROFILER",
            "CORECLR_PROFILER_PATH",
            "COR_ENABLE_PROFILING",
            "PHPRC",
            "PHP_INI_SCAN_DIR",
            "LUA_INIT",
            "LUA_PATH_5_4",
            "VAULT_TOKEN",
            "BAO_ADDR",
            "npm_config_script_shell",
            "NPM_CONFIG_NODE_OPTIONS",
            "KUBECONFIG",
            "ERL_FLAGS",
            "ASAN_OPTIONS",
            "SSLKEYLOGFILE",
            "PAGER",
            "SSH_ASKPASS",
        ] {
            assert!(controls_a_process(name), "{name}");
        }
    }

    #[test]
    fn names_that_applications_have_for_secrets_do_not() {
        for name in [
            "PATHS",
            "path",
            "home",
            "LDAP_URL",
            "ENVIRONMENT",
            "user",
            "password",
            "DATABASE_URL",
            "NODE_ENV",
            "NODE_AUTH_TOKEN",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "GEM_HOST_API_KEY",
            "JAVA_KEYSTORE_PASSWORD",
            "DENO_AUTH_TOKENS",
            "PGPASSWORD",
            "MYSQL_PASSWORD",
            "GITHUB_TOKEN",
            "GITLAB_TOKEN",
            "SSL_KEY",
            "TLS_CERT",
            "PROXY",
            "PROXY_PASSWORD",
            "CERT_FILE",
            "RELEASE_COOKIE",
            "TZ",
            "LANG",
            "P_LD_PRELOAD",
            "APP_PATH",
            "APP_NODE_OPTIONS",
        ] {
            assert!(!controls_a_process(name), "{name}");
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("A", "A", true),
            ("A", "AB", false),
            ("A*", "A", true),
            ("A*", "AB", true),
            ("*A", "A", true),
            ("*A", "BA", true),
            ("*A", "AB", false),
            ("*A*_B", "XAY_B", true),
            ("*A*_B", "A_B", true),
            ("*A*_B", "AB", false),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }
}
