use tokio_postgres::config::ChannelBinding;

use super::*;

fn target(url: &str) -> Target {
    Target::parse(url).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(url: &str) -> String {
    Target::parse(url).err().expect("refused").to_string()
}

#[test]
fn sslmode_is_honoured() {
    for (query, mode) in [
        ("", SslMode::Prefer),
        ("?sslmode=disable", SslMode::Disable),
        ("?sslmode=allow", SslMode::Prefer),
        ("?sslmode=prefer", SslMode::Prefer),
        ("?sslmode=require", SslMode::Require),
        ("?sslmode=no-verify", SslMode::Require),
    ] {
        let target = target(&format!("postgres://user:word@host:6543/db{query}"));
        assert_eq!(target.config.get_ssl_mode(), mode, "{query}");
    }
    let socket = target("postgres://user@%2Ftmp%2Fpg/db?sslmode=require");
    assert_eq!(socket.config.get_ssl_mode(), SslMode::Disable, "on a unix socket it means nothing");
}

#[test]
fn what_cannot_be_checked_is_refused_by_name() {
    for (query, names) in [
        ("sslmode=verify-ca", "`sslmode=verify-ca`: needs the CA's certificate"),
        ("sslmode=verify-full&sslrootcert=/no/such.crt", "`sslrootcert`: "),
        ("sslmode=verify-full&sslrootcert=/etc/hostname", "no certificate is in it"),
        ("sslmode=require&sslrootcert=system", "`sslmode=require`: with `sslrootcert=system`"),
        ("sslmode=sometimes", "`sslmode=sometimes`: use `disable`"),
        ("sslcert=me.crt", "`sslcert`: client certificates"),
        ("sslcrl=crl", "`sslcrl`: "),
        ("sslaccept=strict", "`sslaccept`: say `sslmode=require`"),
        ("ssl=true", "`ssl`: say"),
    ] {
        let refusal = refusal(&format!("postgres://u:hunter2@h/d?{query}"));
        assert!(refusal.contains(names) && !refusal.contains("hunter2"), "{refusal}");
    }
}

#[test]
fn urls_as_people_paste_them_work() {
    let prisma =
        target("postgresql://u:p@h:6543/d?pgbouncer=true&connection_limit=1&schema=public&pool_timeout=0");
    assert_eq!(prisma.ignored, ["pgbouncer", "connection_limit", "schema", "pool_timeout"]);

    let neon = target("postgres://u:p@h/d?sslmode=require&channel_binding=require&options=endpoint%3Dx");
    assert_eq!(neon.config.get_channel_binding(), ChannelBinding::Require);
    assert_eq!(neon.config.get_options(), Some("endpoint=x"));

    let encoded = target("postgres://user.ref:p%40ss%2Fw%3Frd%25%23@h/d%20b?application_name=x").config;
    assert_eq!(encoded.get_user(), Some("user.ref"));
    assert_eq!(encoded.get_password(), Some(&b"p@ss/w?rd%#"[..]));
    assert_eq!(encoded.get_dbname(), Some("d b"));
    assert_eq!(encoded.get_application_name(), Some("x"));

    let bare = target("postgres://u:p#w d@h").config;
    assert_eq!(bare.get_password(), Some(&b"p#w d"[..]));
    assert_eq!((bare.get_dbname(), bare.get_ports()), (None, &[5432][..]));
    assert_eq!(bare.get_application_name(), Some("switchboard"));

    let six = target("postgres://u:p@[2001:db8::1]:6543/d").config;
    assert_eq!((six.get_hosts(), six.get_ports()), (&[Host::Tcp("2001:db8::1".to_owned())][..], &[6543][..]));

    let many = target("postgres://u:p@a:1,b:2/d?target_session_attrs=read-write").config;
    assert_eq!((many.get_hosts().len(), many.get_ports()), (2, &[1, 2][..]));
}

#[test]
fn what_would_lead_elsewhere_is_refused_by_name() {
    for (query, says) in [
        ("schema=clinic", "`schema`: a transaction pooler does not keep a search path"),
        ("statement_timeout=5000", "`statement_timeout`: a transaction pooler does not keep it"),
        ("sslmod=require", "`sslmod`: this parameter is not known"),
        ("connect_timeout=soon", "connect_timeout"),
    ] {
        let refusal = refusal(&format!("postgres://u:hunter2@h/d?{query}"));
        assert!(refusal.contains(says) && !refusal.contains("hunter2"), "{refusal}");
    }
}

#[test]
fn a_refusal_never_repeats_the_password() {
    for url in [
        "mysql://user:hunter2@host/db",
        "postgres://user:hunter2@host:port/db",
        "postgres://user:x?hunter2@host/db",
        "postgres://user:x?hunter2=hunter2@host/db",
        "postgres://user:x?hunter2&y@host/db",
        "postgres://user:x/hunter2@host/db",
        "postgres://user:x@hunter2@host/db",
        "postgres://user:hunter2@/db",
        "postgres://user:hunter2[YOUR-PASSWORD]@host/db",
        "postgres://user:hunter2@host/db?sslmode=verify-ca",
    ] {
        let refusal = refusal(url);
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
    assert!(refusal("postgres://user:p@ss@host/db").contains("`%40`"));
    assert!(refusal("postgres://postgres:[YOUR-PASSWORD]@host/db").contains("[YOUR-PASSWORD]"));
}

#[test]
fn direct_tls_is_refused_by_name() {
    let said = refusal("postgres://u@h/d?sslmode=require&sslnegotiation=direct");
    assert!(said.starts_with("`sslnegotiation=direct`: "), "{said}");
    target("postgres://u@h/d?sslmode=require&sslnegotiation=postgres");
}

#[test]
fn a_permanent_mistake_is_told_from_an_outage() {
    for (code, said) in [
        (Some("28P01"), "db error: FATAL: password authentication failed for user \"app\""),
        (Some("28000"), "db error: FATAL: role \"app\" does not exist"),
        (Some("3D000"), "db error: FATAL: database \"app\" does not exist"),
        (Some("42501"), "db error: FATAL: permission denied for database \"app\""),
        (Some("08P01"), "db error: FATAL: no such database: app"),
        (Some("XX000"), "db error: FATAL: Tenant or user not found"),
        (None, "error performing TLS handshake: server does not support TLS"),
    ] {
        assert!(is_mistake(code, said), "{said}");
    }
    for (code, said) in [
        (Some("57P03"), "db error: FATAL: the database system is starting up"),
        (Some("53300"), "db error: FATAL: sorry, too many clients already"),
        (Some("XX000"), "db error: FATAL: unable to check out a connection"),
        (None, "error connecting to server: Connection refused"),
    ] {
        assert!(!is_mistake(code, said), "{said}");
    }
}
