//! Secrets as files: sealed ones in memory, those at a fixed place, and what goes wrong with them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::geteuid;
use test_vault::{Target, json, on_every_vault};

use crate::support::application::{as_root, kv};
use crate::support::launch::{not_run, works};
use crate::support::{Run, directory};

/// A mount with a secret `app` whose values no environment could hold.
fn app(target: &Target) -> String {
    let mount = kv(target, 2);
    let secret = json!({
        "password": "s3cr3t-value",
        "nul": "YQBi",
        "tls.crt": "CERTIFICATE\n",
        "tls.key": "PRIVATE KEY\n",
        "large": "x".repeat(300_000),
    });
    target.operator().kv_put(&mount, 2, "app", secret);
    mount
}

#[track_caller]
fn prints(run: &Run, expected: &str) {
    let ended = run.end();
    assert_eq!((ended.code, ended.text().as_str()), (Some(0), expected), "{}", ended.stderr);
}

#[test]
fn a_variable_gets_the_path_of_a_file_that_holds_the_value_to_the_byte() {
    on_every_vault(|target| {
        let mount = app(target);
        let run = as_root(target)
            .env("PASSWORD_FILE", format!("vault-file:{mount}/data/app#password"))
            .env("NUL", format!("bao-file:{mount}/data/app#${{.nul | b64dec}}"))
            .env("LARGE", format!("vault-file:{mount}/data/app#large"))
            .env("OPTION", format!("-Dks=${{vault-file:{mount}/data/app#tls.key}}!"));
        prints(&run.clone().shell("cat $PASSWORD_FILE $PASSWORD_FILE"), "s3cr3t-values3cr3t-value");
        prints(&run.clone().shell("od -An -tx1 $NUL | tr -d ' \\n'"), "610062");
        prints(&run.clone().shell("wc -c < $LARGE"), "300000\n");
        prints(&run.clone().shell("p=${OPTION#-Dks=}; cat ${p%!}"), "PRIVATE KEY\n");
        let shown = "stat -L -c %a:%s $PASSWORD_FILE; readlink $PASSWORD_FILE";
        prints(&run.shell(shown), "400:12\n/memfd:PASSWORD_FILE (deleted)\n");
    });
}

#[test]
fn a_file_in_memory_is_above_the_usual_descriptors_sealed_and_the_only_one_that_is_added() {
    on_every_vault(|target| {
        let mount = app(target);
        let run = as_root(target).env("F", format!("vault-file:{mount}/data/app#password"));
        prints(&run.clone().shell("echo $F"), "/proc/self/fd/100\n");
        // The glob's own descriptor is one of the shell's.
        let script = "for fd in /proc/$$/fd/*; do readlink $fd; done | grep -c memfd";
        prints(&run.clone().shell(script), "1\n");
        let ended = run.shell("printf x >> $F").end();
        assert_ne!(ended.code, Some(0), "the file was changed");
    });
}

#[test]
fn what_is_missing_is_left_out_or_is_the_content_of_its_default() {
    on_every_vault(|target| {
        let mount = app(target);
        let file = |optional: &str, rest: &str| format!("vault-file{optional}:{mount}/data/{rest}");
        let run = as_root(target)
            .env("OPTIONAL", file("?", "app#nope"))
            .env("DEFAULT", file("", "nope#nope:-d-content"))
            .env("TEXT", format!("a${{{}}}", file("?", "app#nope")))
            .shell("echo ${OPTIONAL-out} ${TEXT-out}; cat $DEFAULT");
        prints(&run, "out out\nd-content");
        as_root(target).env("X", file("", "app#nope")).fails(66, &["X: ", "no key nope"]);
        prints(
            &as_root(target)
                .env("VAULT_ENABLED", "false")
                .env("DEFAULT", file("", "nope#nope:-d-content"))
                .shell("cat $DEFAULT"),
            "d-content",
        );
        let literal = as_root(target).env("X", file("", "app#k")).option("--literal=X");
        assert_eq!(literal.value("X"), Some(file("", "app#k")));
    });
}

#[test]
fn files_at_fixed_places_have_keys_texts_and_whole_secrets() {
    on_every_vault(|target| {
        let (mount, directory) = (app(target), directory());
        let place = |name: &str| directory.path().join(name).display().to_string();
        let run = as_root(target)
            .option("--file")
            .option(format!("{}={mount}/app#password", place("key")))
            .option("--file")
            .option(format!(
                "{}=[db]\npassword=${{vault:{mount}/app#password}}\ncert=${{vault-file:{mount}/app#tls.crt}}\n",
                place("conf")
            ))
            .option(format!("--file={}={mount}/app##1", place("*")))
            .option("--file-mode=0440")
            .shell(&format!(
                "cat {}; grep password= {}; cat $(sed -n s/cert=//p {})",
                place("key"),
                place("conf"),
                place("conf")
            ));
        prints(&run, "s3cr3t-valuepassword=s3cr3t-value\nCERTIFICATE\n");
        for name in ["key", "conf", "password", "nul", "tls.crt", "tls.key", "large"] {
            let found = fs::metadata(place(name)).expect(name);
            assert_eq!(found.mode() & 0o7777, 0o440, "{name}");
        }
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 7);
        let before = fs::metadata(place("key")).expect("a file");
        prints(&run, "s3cr3t-valuepassword=s3cr3t-value\nCERTIFICATE\n");
        let after = fs::metadata(place("key")).expect("a file");
        assert_eq!((before.ino(), before.ctime_nsec()), (after.ino(), after.ctime_nsec()));
    });
}

#[test]
fn the_variable_has_a_file_in_each_line_and_a_directory_for_those_without_a_place() {
    on_every_vault(|target| {
        let (mount, directory) = (app(target), directory());
        let path = directory.path().display();
        let run = as_root(target)
            .env(
                "VAULT_EXEC_FILES",
                format!(
                    "{path}/a={mount}/app#password\n\n  {path}/b=x=${{vault:{mount}/app#nul}}\n"
                ),
            )
            .env("VAULT_EXEC_FILE_DIR", directory.path())
            .env("KEY", format!("vault-file:{mount}/app#tls.key"))
            .shell(&format!("cat {path}/a {path}/b; echo; echo $KEY; cat $KEY"));
        prints(&run, &format!("s3cr3t-valuex=YQBi\n{path}/KEY\nPRIVATE KEY\n"));
    });
}

#[test]
fn what_is_in_the_way_ends_the_start_and_nothing_is_half_written() {
    on_every_vault(|target| {
        let (mount, directory) = (app(target), directory());
        let path = directory.path();
        fs::write(path.join("target"), "old").expect("a file");
        symlink(path.join("target"), path.join("link")).expect("a link");
        fs::create_dir(path.join("directory")).expect("a directory");
        for (name, part) in [
            ("link", "symbolic link"),
            ("directory", "no file"),
            ("none/x", "its directory must be there"),
        ] {
            let run = as_root(target)
                .option(format!("--file={}={mount}/app#password", path.join("good").display()))
                .option(format!("--file={}={mount}/app#password", path.join(name).display()));
            run.fails(78, &[name, part]);
        }
        let twice = format!("--file={}={mount}/app#password", path.join("x").display());
        let other = format!("--file={}={mount}/app#nul", path.join("x").display());
        as_root(target).options([twice, other]).fails(78, &["two files at this place"]);
        assert_eq!(fs::read(path.join("target")).expect("a file"), b"old");
        assert_eq!(fs::read_dir(path).expect("a directory").count(), 3, "nothing is left");
    });
}

#[test]
fn an_owner_is_found_out_before_vault_is_asked() {
    on_every_vault(|target| {
        let mount = app(target);
        let run = as_root(target).env("F", format!("vault-file:{mount}/data/app#password"));
        run.clone().option("--file-owner=nobody-of-this-name").fails(78, &["--file-owner", "user"]);
        run.clone().option("--file-mode=rw").fails(78, &["--file-mode", "octal"]);
        if let Some(vault) = target.own() {
            vault.clear();
            run.clone().option("--file-owner=nobody-of-this-name").end();
            assert!(vault.lines().is_empty());
        }
        if geteuid().is_root() {
            let owned = run.option("--file-owner=65534:65533").shell("stat -L -c %u:%g $F");
            prints(&owned, "65534:65533\n");
        } else {
            run.option("--file-owner=0").fails(78, &["F: ", "owner cannot be set"]);
        }
    });
}

#[test]
fn a_value_that_no_environment_can_hold_names_the_remedy() {
    on_every_vault(|target| {
        let mount = app(target);
        for key in ["large", "${.nul | b64dec}"] {
            let run = as_root(target).env("X", format!("vault:{mount}/data/app#{key}"));
            run.fails(78, &["X: ", "vault-file:"]);
            let file = as_root(target).env("X", format!("vault-file:{mount}/data/app#{key}"));
            assert_eq!(file.marker().end().code, Some(0));
        }
    });
}

#[test]
fn a_check_shows_place_mode_owner_and_size_and_writes_nothing() {
    on_every_vault(|target| {
        let (mount, directory) = (app(target), directory());
        let place = directory.path().join("key").display().to_string();
        let run = as_root(target)
            .env("F", format!("vault-file:{mount}/app#password"))
            .option(format!("--file={place}={mount}/app#tls.key"))
            .option("--check");
        let ended = run.end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        for line in [
            "F: ".to_owned(),
            format!("file F in memory: {mount}/app#password, version 1, mode 0400, "),
            format!(
                "file {place}: {mount}/app#tls.key, version 1, mode 0400, owner this user, 12 bytes"
            ),
        ] {
            assert!(ended.text().contains(&line), "{line} in {}", ended.text());
        }
        assert!(!ended.text().contains("s3cr3t-value") && !ended.text().contains("PRIVATE"));
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 0);
        let policy =
            run.option("--kv-version=2").option("--check=false").option("--print-policy").end();
        assert!(policy.text().contains(&format!("{mount}/")), "{}{}", policy.text(), policy.stderr);
    });
}

/// The application as a program that reads a file by the path in a variable.
fn reads(target: &Target, program: &str, arguments: &[&str], expected: &str) {
    if !works(Command::new(program).arg("--version").stdout(Stdio::null())) {
        return not_run("references::files::real_programs_read_files_in_memory", program);
    }
    let mount = app(target);
    let run = as_root(target)
        .env("F", format!("vault-file:{mount}/data/app#password"))
        .env("HOME", "/nonexistent")
        .command([&[program], arguments].concat());
    prints(&run, expected);
}

#[test]
fn real_programs_read_files_in_memory() {
    on_every_vault(|target| {
        let python = "import os; print(open(os.environ['F']).read())";
        reads(target, "python3", &["-c", python], "s3cr3t-value\n");
        let node = "console.log(require('fs').readFileSync(process.env.F, 'utf8'))";
        reads(target, "node", &["-e", node], "s3cr3t-value\n");
        reads(target, "bash", &["-c", "echo $(<$F)"], "s3cr3t-value\n");
    });
}

#[test]
fn openssl_and_nginx_take_a_key_in_memory() {
    on_every_vault(|target| {
        if !works(Command::new("openssl").arg("version").stdout(Stdio::null())) {
            return not_run("references::files::openssl_and_nginx_take_a_key_in_memory", "openssl");
        }
        let directory = directory();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-nodes", "-subj", "/CN=localhost", "-keyout", "key.pem", "-out", "crt.pem"])
            .current_dir(directory.path())
            .output()
            .expect("openssl runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let read = |name| fs::read_to_string(directory.path().join(name)).expect("PEM");
        let mount = kv(target, 2);
        let pair = json!({ "key": read("key.pem"), "crt": read("crt.pem") });
        target.operator().kv_put(&mount, 2, "pair", pair);
        let run = as_root(target)
            .env("KEY", format!("vault-file:{mount}/data/pair#key"))
            .env("CRT", format!("vault-file:{mount}/data/pair#crt"));
        let same = "test \"$(openssl pkey -in $KEY -pubout)\" = \"$(openssl x509 -in $CRT -noout -pubkey)\"";
        prints(&run.clone().shell(same), "");
        let nginx = "/usr/sbin/nginx";
        if !Path::new(nginx).exists() {
            return not_run("references::files::openssl_and_nginx_take_a_key_in_memory", "nginx");
        }
        let prefix = directory.path().display();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let script = format!(
            "cat > {prefix}/nginx.conf <<END\n\
             pid {prefix}/pid; error_log stderr; events {{}}\n\
             http {{ access_log off; server {{ listen unix:{prefix}/socket ssl;\n\
             ssl_certificate $CRT; ssl_certificate_key $KEY; }} }}\n\
             END\n\
             {nginx} -t -q -p {prefix} -c {prefix}/nginx.conf"
        );
        prints(&run.shell(&script), "");
    });
}
