//! Who a request is from.

use actors::access::{Role, Scope, Scopes};
use actors::db::{SessionUser, Token};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::openapi::words;
use crate::rate_limit::Client;

/// Whoever is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Identity {
    pub name: String,
    #[serde(flatten)]
    pub kind: Kind,
    #[schema(schema_with = words::scopes)]
    pub scopes: Scopes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Kind {
    /// A person with a session.
    User {
        #[serde(skip)]
        id: i64,
        #[schema(schema_with = words::role)]
        role: Role,
    },
    /// A program with a bearer token.
    Token {
        #[serde(skip)]
        id: i64,
    },
    /// Whoever sits at this machine, with API_AUTH=off.
    Local,
}

impl Identity {
    /// With API_AUTH=off.
    pub fn local() -> Self {
        Self { name: "local".to_owned(), kind: Kind::Local, scopes: Scopes::of(&Scope::ALL) }
    }

    /// As the audit names it.
    pub fn who(&self) -> String {
        match self.kind {
            Kind::User { .. } => format!("user:{}", self.name),
            Kind::Token { .. } => format!("token:{}", self.name),
            Kind::Local => "local".to_owned(),
        }
    }

    /// As whom its requests are counted; none: by address.
    pub fn client(&self) -> Option<Client> {
        match self.kind {
            Kind::User { id, .. } => Some(Client::user(id)),
            Kind::Token { id } => Some(Client::token(id)),
            Kind::Local => None,
        }
    }
}

impl From<SessionUser> for Identity {
    fn from(user: SessionUser) -> Self {
        let SessionUser { user_id, name, role, .. } = user;
        Self { name, kind: Kind::User { id: user_id, role }, scopes: role.scopes() }
    }
}

impl From<Token> for Identity {
    fn from(token: Token) -> Self {
        Self { name: token.name, kind: Kind::Token { id: token.id }, scopes: token.scopes }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn me_is_a_name_a_role_and_what_it_may_do_and_no_number() {
        let user = Identity {
            name: "anna".to_owned(),
            kind: Kind::User { id: 7, role: Role::Viewer },
            scopes: Role::Viewer.scopes(),
        };
        let told = json!({"name": "anna", "kind": "user", "role": "viewer", "scopes": ["monitor", "logs"]});
        assert_eq!(serde_json::to_value(&user).unwrap(), told);
        let scopes = Scopes::of(&[Scope::Metrics]);
        let token = Identity { name: "prometheus".to_owned(), kind: Kind::Token { id: 7 }, scopes };
        let told = json!({"name": "prometheus", "kind": "token", "scopes": ["metrics"]});
        assert_eq!(serde_json::to_value(&token).unwrap(), told);
        assert_eq!([user.who(), token.who()], ["user:anna", "token:prometheus"]);
        assert_ne!(user.client(), token.client(), "a user and a token with one number are counted apart");
        assert_eq!(Identity::local().client(), None);
    }
}
