//! Which address of the database's host to connect to, where its name has several and some may swallow
//! packets.
//!
//! tokio-postgres tries the addresses one after the other, and each for as long as the operating system does.
//! So the name's addresses are dialled side by side first, and the one that answered is tried before the
//! others; each has a time limit. The name stays what the certificate is checked against.

use std::net::SocketAddr;

use tokio::net::lookup_host;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts};

use crate::wire::dial::dial_any;

/// The config by which to connect now. Where nothing is to be chosen, or no address answers, it is as it was.
pub(super) async fn by_the_best_address(config: &Config) -> Config {
    let Some((name, port)) = only_name(config) else { return config.clone() };
    // What is wrong with the name is said by the attempt to connect.
    let Ok(addresses) = lookup_host((name, port)).await else { return config.clone() };
    let addresses: Vec<SocketAddr> = addresses.collect();
    if addresses.len() < 2 {
        return config.clone();
    }
    match dial_any(addresses.clone()).await.and_then(|stream| stream.peer_addr()) {
        Ok(best) => with_first(config, name, best, &addresses),
        Err(_) => config.clone(),
    }
}

/// The host's name and port, if there is one host, of which nothing but the name is given.
fn only_name(config: &Config) -> Option<(&str, u16)> {
    let [Host::Tcp(name)] = config.get_hosts() else { return None };
    let is_chosen_at_random = config.get_load_balance_hosts() == LoadBalanceHosts::Random;
    if !config.get_hostaddrs().is_empty() || is_chosen_at_random {
        return None;
    }
    Some((name, config.get_ports().first().copied().unwrap_or(5432)))
}

/// The host once for each of its addresses, the best one first.
fn with_first(config: &Config, name: &str, best: SocketAddr, addresses: &[SocketAddr]) -> Config {
    let mut config = config.clone();
    config.hostaddr(best.ip());
    for address in addresses.iter().filter(|address| address.ip() != best.ip()) {
        config.host(name).hostaddr(address.ip());
    }
    config
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use super::*;
    use crate::db::connect::url::Target;

    fn config(url: &str) -> Config {
        Target::parse(url).unwrap().config
    }

    #[test]
    fn the_address_that_answered_is_tried_first_and_the_name_stays_the_one_to_check() {
        let before = config("postgres://me@db.example.com:6543/app");
        assert_eq!(only_name(&before), Some(("db.example.com", 6543)));
        let addresses = ["[2001:db8::1]:6543", "192.0.2.1:6543", "192.0.2.2:6543"];
        let addresses = addresses.map(|address| address.parse::<SocketAddr>().unwrap());
        let after = with_first(&before, "db.example.com", addresses[1], &addresses);
        let order = ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        assert_eq!(after.get_hostaddrs(), order);
        assert_eq!(after.get_hosts(), vec![Host::Tcp("db.example.com".to_owned()); 3]);
        assert_eq!(after.get_ports(), [6543]);
    }

    #[test]
    fn what_names_its_addresses_itself_is_left_alone() {
        for url in [
            "postgres://me@/app?host=/run/postgresql",
            "postgres://me@a.example.com,b.example.com/app",
            "postgres://me@a.example.com/app?hostaddr=192.0.2.1",
            "postgres://me@a.example.com/app?load_balance_hosts=random",
        ] {
            assert_eq!(only_name(&config(url)), None, "{url}");
        }
    }

    #[test]
    fn an_address_that_swallows_packets_is_given_up_in_time_for_the_next_one() {
        let limit = |url| config(url).get_connect_timeout().copied();
        assert_eq!(limit("postgres://me@a.example.com,b.example.com/app"), Some(Duration::from_secs(3)));
        let asked = "postgres://me@a.example.com/app?connect_timeout=7";
        assert_eq!(limit(asked), Some(Duration::from_secs(7)), "the URL's own limit holds");
    }
}
