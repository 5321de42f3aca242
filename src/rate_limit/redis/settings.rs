//! Where Redis is.

use actors::secret::Secret;
use percent_encoding::percent_decode_str;
use url::Url;

/// What `REDIS_URL` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    pub host: String,
    pub port: u16,
    /// Of `rediss://`.
    pub has_tls: bool,
    pub user: Option<String>,
    pub password: Option<Secret>,
    pub database: i64,
}

impl RedisSettings {
    /// `redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://` for TLS.
    ///
    /// # Errors
    /// What is wrong, and what to do; neither shows a part of the URL.
    pub fn parse(text: &str) -> Result<Self, (&'static str, &'static str)> {
        let no_url = "is not a URL such as redis://127.0.0.1:6379";
        let url = Url::parse(text).map_err(|_| (no_url, "give scheme and host, or unset it"))?;
        let has_tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err((no_url, "begin it with redis:// or rediss://")),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or((no_url, "give a host"))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(("has parameters after the database", "leave them out"));
        }
        let database = match url.path().trim_start_matches('/') {
            "" => Ok(0),
            number => number.parse::<u16>(),
        };
        let database =
            database.map_err(|_| ("names no database by its number", "end it with one, as in /0"))?;
        let decoded = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8().map(|text| text.into_owned());
            decoded.map_err(|_| ("has a user or password that is no UTF-8", "percent-encode it"))
        };
        let user = Some(decoded(url.username())?).filter(|user| !user.is_empty());
        let password = url.password().map(decoded).transpose()?.filter(|password| !password.is_empty());
        if user.is_some() && password.is_none() {
            return Err(("has a user and no password", "give redis://USER:PASSWORD@HOST"));
        }
        Ok(Self {
            host: host.to_owned(),
            port: url.port().unwrap_or(6379),
            has_tls,
            user,
            password: password.map(Secret::new),
            database: database.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_port_tls_credentials_and_database() {
        let plain = |host: &str| RedisSettings {
            host: host.to_owned(),
            port: 6379,
            has_tls: false,
            user: None,
            password: None,
            database: 0,
        };
        assert_eq!(RedisSettings::parse("redis://cache"), Ok(plain("cache")));
        assert_eq!(RedisSettings::parse("redis://[::1]/"), Ok(plain("[::1]")));
        let all = RedisSettings {
            port: 6380,
            has_tls: true,
            user: Some("me".to_owned()),
            password: Some(Secret::new("a@b/c".to_owned())),
            database: 3,
            ..plain("redis.example.com")
        };
        assert_eq!(RedisSettings::parse("rediss://me:a%40b%2Fc@redis.example.com:6380/3"), Ok(all));
        let password = RedisSettings::parse("redis://:hush@cache").unwrap();
        assert_eq!((password.user, password.password.unwrap().expose()), (None, "hush"));
    }

    #[test]
    fn what_is_wrong_with_a_url_is_told_without_the_url() {
        for (url, wrong) in [
            ("cache:6379", "is not a URL"),
            ("hush", "is not a URL"),
            ("https://me:hush@cache", "is not a URL"),
            ("redis://", "is not a URL"),
            ("redis:///0", "is not a URL"),
            ("redis://:hush@cache/hush", "names no database"),
            ("redis://:hush@cache/-1", "names no database"),
            ("redis://cache/0?password=hush", "has parameters"),
            ("redis://hush@cache", "has a user and no password"),
            ("redis://:%ffhush@cache", "has a user or password that is no UTF-8"),
        ] {
            let (said, remedy) = RedisSettings::parse(url).unwrap_err();
            assert!(said.starts_with(wrong), "{url}: {said}");
            assert!(!said.contains("hush") && !remedy.contains("hush"));
        }
    }
}
