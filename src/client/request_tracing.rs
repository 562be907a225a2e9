//! What holds for single requests.

use std::borrow::Cow;
use std::cell::RefCell;

thread_local! {
    static CURRENT: RefCell<Option<RequestTracing>> = const { RefCell::new(None) };
}

/// How single requests are traced, apart from what their client's
/// [`ClientTracing`](super::ClientTracing) says.
///
/// # Examples
///
/// ```no_run
/// use spanbridge::client::RequestTracing;
///
/// # async fn f(client: awc::Client) -> Result<(), awc::error::SendRequestError> {
/// let sent = RequestTracing::new()
///     .with_url_template("/pods/{name}")
///     .scope(|| client.get("http://api/pods/web-0").send());
/// let response = sent.await?;
/// # drop(response);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct RequestTracing {
    pub(super) url_template: Option<Cow<'static, str>>,
    pub(super) without_propagation: bool,
}

impl RequestTracing {
    /// Nothing apart from what the client says.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records `template` as `url.template`, and names the span after it. It should be the same
    /// for all requests of a kind.
    ///
    /// Not for the requests that follow redirects: their URLs are others.
    #[must_use]
    pub fn with_url_template(mut self, template: impl Into<Cow<'static, str>>) -> Self {
        self.url_template = Some(template.into());
        self
    }

    /// Sends no trace context and no baggage, also not with requests that follow redirects.
    ///
    /// Headers that were set by hand or copied from an incoming request are removed.
    #[must_use]
    pub fn without_propagation(mut self) -> Self {
        self.without_propagation = true;
        self
    }

    /// Runs `send`, which is to send requests: a hook sees a request when `send()` is called, not
    /// when its future is polled.
    ///
    /// A scope within takes the place of the one around it.
    pub fn scope<R>(self, send: impl FnOnce() -> R) -> R {
        /// Puts back what was there, also when `send` panics.
        struct Restore(Option<RequestTracing>);

        impl Drop for Restore {
            fn drop(&mut self) {
                // A thread that ends has no more requests to send.
                let _ = CURRENT.try_with(|current| current.replace(self.0.take()));
            }
        }

        let _restore = Restore(CURRENT.replace(Some(self)));
        send()
    }

    /// What holds for a request that is sent right now.
    pub(super) fn current() -> Option<Self> {
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
    }
}
