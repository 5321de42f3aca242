//! The private cluster.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use switchboard::private_postgres::{PrivatePostgres, PrivatePostgresError};

use crate::support::postgres::{Folder, client};

#[tokio::test]
async fn a_cluster_keeps_its_data_from_start_to_start() {
    let folder = Folder::new();
    let cluster = PrivatePostgres::start(folder.path()).unwrap();
    client(cluster.url())
        .await
        .batch_execute("CREATE TABLE kept (x INT); INSERT INTO kept VALUES (7)")
        .await
        .unwrap();
    cluster.stop();

    let cluster = PrivatePostgres::start(folder.path()).unwrap();
    let row = client(cluster.url()).await.query_one("SELECT x FROM kept", &[]).await.unwrap();
    assert_eq!(row.get::<_, i32>(0), 7);
    let row = client(cluster.url()).await.query_one("SHOW fsync", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "on");
}

#[tokio::test]
async fn a_second_start_on_the_same_data_is_refused_and_the_first_goes_on() {
    let folder = Folder::new();
    let cluster = PrivatePostgres::start(folder.path()).unwrap();
    let refused = PrivatePostgres::start(folder.path()).err().expect("refused");
    assert!(matches!(&refused, PrivatePostgresError::InUse(dir) if dir == folder.path()), "{refused}");
    client(cluster.url()).await.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn the_socket_is_private_and_gone_after_the_stop() {
    let folder = Folder::new();
    let cluster = PrivatePostgres::start(folder.path()).unwrap();
    let encoded = cluster.url().split('@').nth(1).unwrap().split('/').next().unwrap();
    let socket_dir = std::path::PathBuf::from(encoded.replace("%2F", "/"));
    assert_eq!(socket_dir.metadata().unwrap().mode() & 0o777, 0o700);
    assert!(socket_dir.join(".s.PGSQL.5432").exists());
    assert_eq!(folder.path().metadata().unwrap().mode() & 0o777, 0o700);
    cluster.stop();
    assert!(!socket_dir.exists());
}

#[test]
fn the_server_never_runs_as_root() {
    let folder = Folder::new();
    let _cluster = PrivatePostgres::start(folder.path()).unwrap();
    let pid = std::fs::read_to_string(folder.path().join("data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap();
    assert_ne!(std::path::Path::new("/proc").join(pid).metadata().unwrap().uid(), 0);
}

#[test]
fn data_that_the_servers_user_cannot_reach_is_refused_and_named() {
    if !rustix::process::geteuid().is_root() {
        return; // only root runs the server as somebody else
    }
    let folder = Folder::new();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let refused = PrivatePostgres::start(&folder.path().join("inner")).err().expect("refused");
    assert!(
        matches!(&refused, PrivatePostgresError::NoWay { folder: named, .. } if named == folder.path()),
        "{refused}"
    );
}
