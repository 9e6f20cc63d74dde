//! Who may come in at a listener, and how much one client may ask of it.
//!
//! In: the head of a request and the address it came from. Out: the [`Client`] and whose tenant it is, or why it is
//! [`Denied`]; both counted.
//! Left out on purpose: users, roles and sessions: tokens are made and kept by whoever runs the platform. What a request may
//! carry is the intake's to say.
//! Source: RFC 6750 (bearer tokens), RFC 7617 (Basic), RFC 9110, sections 11.6 and 15.5.20.

mod hosts;
mod rates;
mod settings;
mod tenants;
mod tokens;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use crate::tls::Reload;
pub use hosts::HostNames;
use hosts::Hosts;
use rates::Rates;
pub use settings::{AccessSettings, PerClientSettings, TokenMay, TokenSettings};
use tenants::Whose;
pub use tenants::{TenantAccess, TenantHeader, Tenants, header_name};
pub use tokens::TokenError;
use tokens::Tokens;

/// What a browser asks its user for, and a client its operator.
pub const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"tracemap\", charset=\"UTF-8\"");

/// Who may come in. Clones are the same; the default is an open door.
#[derive(Clone, Default)]
pub struct Access(Option<Arc<Rules>>);

struct Rules {
    tokens: Option<Tokens>,
    rates: Option<Rates>,
    hosts: Option<Hosts>,
    whose: Option<Whose>,
    observer: Arc<dyn AccessObserver>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.0.as_deref();
        f.debug_struct("Access")
            .field("tokens", &rules.is_some_and(|rules| rules.tokens.is_some()))
            .field("rates", &rules.is_some_and(|rules| rules.rates.is_some()))
            .field("hosts", &rules.is_some_and(|rules| rules.hosts.is_some()))
            .field("tenants", &rules.is_some_and(|rules| rules.whose.is_some()))
            .finish()
    }
}

/// Who asks: the bearer of a token, or an address where none is wanted.
#[derive(Debug, Clone)]
pub struct Client {
    who: Who,
    may: TokenMay,
    tenant: usize,
}

impl Client {
    /// Whose request it is, as an index of [`Tenants::each`]; 0 where a listener has one for all.
    pub fn tenant(&self) -> usize {
        self.tenant
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Who {
    Bearer(Arc<str>),
    Address(IpAddr),
    /// All whom there is no room to tell apart.
    Others,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bearer(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
            Self::Others => f.write_str("others"),
        }
    }
}

/// Why somebody may not come in. Its text is for whoever asked, and says nothing of any token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// The request bears no token.
    NoToken,
    /// It bears another one.
    WrongToken,
    /// It would change something, and the token may only read.
    ReadOnly,
    /// It was meant for another host: a page of that name asks through its reader's browser.
    ForeignHost,
    /// Neither its token nor a header says whose tenant it is.
    NoTenant,
    /// Its header names a tenant that there is not, or that is not the token's; which of both is not said.
    WrongTenant,
    /// The client has used up its share for now.
    TooMuch {
        /// When it has again.
        retry_after: Duration,
    },
}

impl Denied {
    /// Every reason as a label.
    pub const REASONS: [&'static str; 7] = [
        "no_token",
        "wrong_token",
        "read_only",
        "foreign_host",
        "no_tenant",
        "wrong_tenant",
        "too_much",
    ];

    /// The reason as a label.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NoToken => "no_token",
            Self::WrongToken => "wrong_token",
            Self::ReadOnly => "read_only",
            Self::ForeignHost => "foreign_host",
            Self::NoTenant => "no_tenant",
            Self::WrongTenant => "wrong_tenant",
            Self::TooMuch { .. } => "too_much",
        }
    }

    /// As HTTP says it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::ReadOnly | Self::NoTenant | Self::WrongTenant => StatusCode::FORBIDDEN,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::TooMuch { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// The headers that belong to the answer.
    pub fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self {
            Self::NoToken | Self::WrongToken => {
                headers.insert(http::header::WWW_AUTHENTICATE, CHALLENGE);
            }
            Self::TooMuch { retry_after } => {
                // In whole seconds, rounded up: 0 would ask for a retry at once.
                let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
                headers.insert(http::header::RETRY_AFTER, seconds.max(1).into());
            }
            Self::ReadOnly | Self::ForeignHost | Self::NoTenant | Self::WrongTenant => {}
        }
        headers
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoToken => f.write_str("a token is wanted here: send `Authorization: Bearer TOKEN`"),
            Self::WrongToken => f.write_str("the token is none of those that are taken here"),
            Self::ReadOnly => f.write_str("the token may read, and change nothing"),
            Self::ForeignHost => {
                f.write_str("ask by address or as `localhost`: a listener at loopback has other names only in its key `hosts`")
            }
            Self::NoTenant => f.write_str(
                "no tenant: send the header that names one, `X-Scope-OrgID` unless `collector.tenant_header` says another",
            ),
            Self::WrongTenant => f.write_str("the tenant that the request names is none of this client's"),
            Self::TooMuch { retry_after } => {
                write!(
                    f,
                    "too much from one client: retry in {} s",
                    retry_after.as_secs_f64()
                )
            }
        }
    }
}

/// Is told of everybody who is denied, and of tokens that changed. Called on the request's task: must not block.
pub trait AccessObserver: Send + Sync {
    /// A request that is not answered, by [`Denied::reason`], and whose it was where that was known by then.
    fn denied(&self, reason: &'static str, tenant: Option<usize>);

    /// Changed files of tokens.
    fn reload(&self, outcome: Reload);
}

impl AccessObserver for () {
    fn denied(&self, _: &'static str, _: Option<usize>) {}

    fn reload(&self, _: Reload) {}
}

impl Access {
    /// Reads the tokens, and follows their files on the current tokio runtime.
    ///
    /// `hosts` are the names under which the listener may be asked for.
    ///
    /// # Errors
    /// As [`AccessSettings::check`] says of files.
    pub fn new(
        settings: &AccessSettings,
        hosts: HostNames<'_>,
        observer: Arc<dyn AccessObserver>,
    ) -> Result<Self, TokenError> {
        Self::made(settings, None, hosts, observer)
    }

    /// The same for a listener of several tenants: beside the tokens of `settings`, which are nobody's, each has its own.
    ///
    /// # Errors
    /// As [`Access::new`]; also where two tenants have one token.
    pub fn of_tenants(
        settings: &AccessSettings,
        tenants: &Tenants,
        hosts: HostNames<'_>,
        observer: Arc<dyn AccessObserver>,
    ) -> Result<Self, TokenError> {
        Self::made(settings, Some(tenants), hosts, observer)
    }

    fn made(
        settings: &AccessSettings,
        tenants: Option<&Tenants>,
        hosts: HostNames<'_>,
        observer: Arc<dyn AccessObserver>,
    ) -> Result<Self, TokenError> {
        let telling = observer.clone();
        let told = Arc::new(move |reload| telling.reload(reload));
        let nobodys = settings.tokens.iter().map(|token| (None, token.clone()));
        let owned = tenants.into_iter().flat_map(Tenants::tokens);
        let wanted: Vec<_> = nobodys.chain(owned).collect();
        let tokens = (!wanted.is_empty())
            .then(|| Tokens::new(wanted, told))
            .transpose()?;
        // A page of another name has no token, so names need no look where one is wanted.
        let hosts = Hosts::new(hosts).filter(|_| tokens.is_none());
        Ok(Self(Some(Arc::new(Rules {
            tokens,
            rates: Rates::new(&settings.per_client),
            hosts,
            whose: tenants.map(Whose::new),
            observer,
        }))))
    }

    /// Who asks with a request of this head, from `peer`.
    ///
    /// # Errors
    /// Why it is not to be answered; counted.
    pub fn admit(&self, head: &Parts, peer: Option<IpAddr>) -> Result<Client, Denied> {
        self.admit_by(&head.headers, &head.uri, peer)
    }

    /// As [`Access::admit`], of a head in parts.
    ///
    /// # Errors
    /// As [`Access::admit`].
    pub fn admit_by(&self, headers: &HeaderMap, uri: &Uri, peer: Option<IpAddr>) -> Result<Client, Denied> {
        let anyone = Client {
            who: peer.map_or(Who::Others, Who::Address),
            may: TokenMay::Write,
            tenant: 0,
        };
        let Some(rules) = &self.0 else {
            return Ok(anyone);
        };
        let client = rules.known(anyone, headers, uri).map_err(|denied| (denied, None));
        let admitted = client.and_then(|client| match rules.has_left(&client) {
            Ok(()) => Ok(client),
            Err(denied) => Err((denied, Some(client.tenant))),
        });
        admitted.map_err(|(denied, tenant)| {
            rules.observer.denied(denied.reason(), tenant);
            denied
        })
    }

    /// Whether a client may change something.
    ///
    /// # Errors
    /// [`Denied::ReadOnly`]; counted.
    pub fn may_write(&self, client: &Client) -> Result<(), Denied> {
        if client.may == TokenMay::Write {
            return Ok(());
        }
        if let Some(rules) = &self.0 {
            let reason = Denied::ReadOnly.reason();
            rules.observer.denied(reason, Some(client.tenant));
        }
        Err(Denied::ReadOnly)
    }

    /// Charges a client with what it sent, once that is known: its next request waits for it.
    pub fn spent(&self, client: &Client, bytes: usize) {
        let Some(rules) = &self.0 else {
            return;
        };
        let (bytes, now) = (bytes as u64, Instant::now());
        for (rates, who) in rules.allowances(client) {
            rates.spent(client.tenant, who, bytes, now);
        }
    }
}

impl Rules {
    /// Who asks, and whose tenant that is.
    fn known(&self, anyone: Client, headers: &HeaderMap, uri: &Uri) -> Result<Client, Denied> {
        if self
            .hosts
            .as_ref()
            .is_some_and(|hosts| !hosts.allow(headers, uri))
        {
            return Err(Denied::ForeignHost);
        }
        let (owner, client) = match &self.tokens {
            Some(tokens) => tokens.bearer(headers)?,
            None => (None, anyone),
        };
        match &self.whose {
            Some(whose) => Ok(Client {
                tenant: whose.of(owner, headers)?,
                ..client
            }),
            None => Ok(client),
        }
    }

    /// Whether the client, and its tenant, may ask once more.
    fn has_left(&self, client: &Client) -> Result<(), Denied> {
        let now = Instant::now();
        self.allowances(client).try_for_each(|(rates, who)| {
            let admitted = rates.admit(client.tenant, who, now);
            admitted.map_err(|retry_after| Denied::TooMuch { retry_after })
        })
    }

    /// What bounds a client: its own rate, and that of all its tenant's together.
    fn allowances<'a>(&'a self, client: &'a Client) -> impl Iterator<Item = (&'a Rates, &'a Who)> {
        let own = self.rates.as_ref().map(|rates| (rates, &client.who));
        let whose = self.whose.as_ref();
        let together = whose.and_then(|whose| Some((whose.rates(client.tenant)?, &Who::Others)));
        own.into_iter().chain(together)
    }
}
