//! Whose tenant a request is, at a listener of several.
//!
//! In: the tenant of its token, where the token is one's, and its headers. Out: the tenant, or why it has none.
//! A token of a tenant decides, and a header may only agree with it. A header decides alone where the caller is trusted with
//! it: by a token that is no tenant's, or at a listener that asks for none.
//! Left out on purpose: several tenants in one request, as Mimir takes them in a query: nothing here is read across tenants.

use http::{HeaderMap, HeaderName};

use super::Denied;
use super::rates::Rates;
use super::settings::{PerClientSettings, TokenSettings};
use super::tokens::Owned;

/// A header's name as it is written down; `None` where it is none.
pub fn header_name(name: &str) -> Option<HeaderName> {
    name.parse().ok()
}

/// The tenants of a listener.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tenants {
    /// Each; [`Client::tenant`](super::Client::tenant) is its index.
    pub each: Vec<TenantAccess>,
    /// What names a tenant where no token does. Default: nothing.
    pub header: Option<TenantHeader>,
}

/// What one tenant has at a listener.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TenantAccess {
    /// Its name, as headers say it.
    pub name: String,
    /// Its tokens.
    pub tokens: Vec<TokenSettings>,
    /// How much all its clients may ask together.
    pub together: PerClientSettings,
}

/// A header that names a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantHeader {
    /// Its name.
    pub name: HeaderName,
    /// Whose requests without it are; `None` refuses them.
    pub default: Option<usize>,
}

impl Tenants {
    /// Every tenant's tokens.
    pub(super) fn tokens(&self) -> impl Iterator<Item = Owned> {
        let each = self.each.iter().enumerate();
        each.flat_map(|(index, tenant)| {
            tenant
                .tokens
                .iter()
                .map(move |token| (Some(index), token.clone()))
        })
    }
}

/// The tenants in use.
pub(super) struct Whose {
    names: Vec<String>,
    rates: Vec<Option<Rates>>,
    header: Option<TenantHeader>,
}

impl Whose {
    pub(super) fn new(tenants: &Tenants) -> Self {
        Self {
            names: tenants.each.iter().map(|tenant| tenant.name.clone()).collect(),
            rates: tenants
                .each
                .iter()
                .map(|tenant| Rates::new(&tenant.together))
                .collect(),
            header: tenants.header.clone(),
        }
    }

    /// What bounds a tenant as a whole.
    pub(super) fn rates(&self, tenant: usize) -> Option<&Rates> {
        self.rates.get(tenant)?.as_ref()
    }

    /// Whose the request is, by the `owner` of its token and its headers.
    pub(super) fn of(&self, owner: Option<usize>, headers: &HeaderMap) -> Result<usize, Denied> {
        let Some(header) = &self.header else {
            return owner.ok_or(Denied::NoTenant);
        };
        let mut values = headers.get_all(&header.name).iter();
        let Some(value) = values.next() else {
            return owner.or(header.default).ok_or(Denied::NoTenant);
        };
        let named = self
            .names
            .iter()
            .position(|name| name.as_bytes() == value.as_bytes());
        // Of two, which is meant would depend on who reads it.
        let only = named.filter(|_| values.next().is_none());
        let agreed = only.filter(|named| owner.is_none_or(|owner| owner == *named));
        agreed.ok_or(Denied::WrongTenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tenants, told apart by `header`, if at all.
    fn whose(header: Option<TenantHeader>) -> Whose {
        let tenant = |name: &str| TenantAccess {
            name: name.to_owned(),
            ..TenantAccess::default()
        };
        Whose::new(&Tenants {
            each: vec![tenant("shop"), tenant("bank")],
            header,
        })
    }

    fn by_header(default: Option<usize>) -> Whose {
        whose(Some(TenantHeader {
            name: HeaderName::from_static("x-scope-orgid"),
            default,
        }))
    }

    fn named(names: &[&str]) -> HeaderMap {
        let header = HeaderName::from_static("x-scope-orgid");
        names
            .iter()
            .map(|name| (header.clone(), name.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn a_token_decides_and_a_header_can_only_agree_with_it() {
        let (tokens, both) = (whose(None), by_header(Some(1)));
        assert_eq!(tokens.of(Some(0), &named(&[])), Ok(0));
        assert_eq!(
            tokens.of(Some(0), &named(&["bank"])),
            Ok(0),
            "no header is looked at that is not configured"
        );
        assert_eq!(tokens.of(None, &named(&["bank"])), Err(Denied::NoTenant));
        assert_eq!(both.of(Some(0), &named(&[])), Ok(0));
        assert_eq!(both.of(Some(0), &named(&["shop"])), Ok(0));
        assert_eq!(both.of(Some(0), &named(&["bank"])), Err(Denied::WrongTenant));
        assert_eq!(both.of(Some(0), &named(&["none"])), Err(Denied::WrongTenant));
    }

    #[test]
    fn a_trusted_header_names_one_tenant_that_there_is() {
        let (strict, lenient) = (by_header(None), by_header(Some(1)));
        assert_eq!(strict.of(None, &named(&["bank"])), Ok(1));
        assert_eq!(strict.of(None, &named(&[])), Err(Denied::NoTenant));
        assert_eq!(lenient.of(None, &named(&[])), Ok(1));
        for wrong in [
            &["none"][..],
            &[""],
            &["Shop"],
            &["shop|bank"],
            &["shop", "bank"],
            &["shop", "shop"],
        ] {
            assert_eq!(
                lenient.of(None, &named(wrong)),
                Err(Denied::WrongTenant),
                "{wrong:?}"
            );
        }
    }
}
