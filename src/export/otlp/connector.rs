//! Connections to a collector, with TLS or without, that remember why TLS did not come about.
//!
//! A transport tells that a connection is gone, but mostly not why: what the peer said last is lost
//! on the way up. So it is noted here, where it is read.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use super::tls::{self, Refusal};

/// Connects to one collector.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector>,
    /// Where to, whatever the transport says: it may be told of a scheme without TLS.
    to: Uri,
    gathers: bool,
    last_words: LastWords,
}

/// Why TLS has not come about, if it was for a reason that will stay.
#[derive(Clone, Debug, Default)]
pub(super) struct LastWords(Arc<Mutex<Option<Refusal>>>);

impl LastWords {
    pub(super) fn take(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn note(&self, error: &(dyn std::error::Error + 'static)) {
        if let Some(refusal) = tls::refusal(error) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl Connector {
    pub(super) fn new(to: Uri, config: rustls::ClientConfig, timeout: Duration) -> Self {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_connect_timeout(Some(timeout));
        http.set_nodelay(true);
        Self { https: (http, config).into(), to, gathers: false, last_words: LastWords::default() }
    }

    /// For a transport that writes and flushes piece by piece: what it writes in one go is sent in
    /// one go.
    #[cfg(feature = "otlp-grpc")]
    pub(super) fn gathering(self) -> Self {
        Self { gathers: true, ..self }
    }

    pub(super) fn last_words(&self) -> LastWords {
        self.last_words.clone()
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connecting = self.https.call(self.to.clone());
        let last_words = self.last_words.clone();
        let gathers = self.gathers;
        Box::pin(async move {
            let connected = connecting.await.inspect_err(|error| last_words.note(&**error));
            let stream = TokioIo::new(connected?);
            let gathered = Gathered::default();
            Ok(TokioIo::new(Stream { stream, last_words, gathers, gathered, broken: None }))
        })
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Stream {
    stream: TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>,
    last_words: LastWords,
    gathers: bool,
    gathered: Gathered,
    /// Nothing can be written any more, but the peer's last words are still to be read.
    broken: Option<Broken>,
}

#[derive(Debug)]
struct Broken {
    error: io::Error,
    /// Who has said nothing by then has nothing to say.
    until: Pin<Box<Sleep>>,
}

/// What has arrived is read in no time: so long waits only who has lost the network.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// What has been written and not sent.
#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    sent: usize,
    /// Whether it was to be flushed, and nothing has been written since.
    is_flushed: bool,
}

/// What is gathered before it is sent: several frames of HTTP/2. More is no faster: it leaves the
/// cache before it is copied again.
const GATHERED: usize = 64 * 1024;

impl Stream {
    /// Notes why nothing could be written, and then what the peer said before it closed: who
    /// refuses a certificate by TLS 1.3 does so when the handshake is over for us, and mostly a
    /// write fails first.
    fn written<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match result {
            Poll::Ready(Err(error)) => {
                self.last_words.note(&error);
                if matches!(self.stream.inner(), MaybeHttpsStream::Http(_)) {
                    return Poll::Ready(Err(error));
                }
                self.broken = Some(Broken { error, until: Box::pin(sleep(LAST_WORDS_TIMEOUT)) });
                self.poll_whole(cx).map(|broken| Err(broken.expect_err("is broken")))
            }
            written => written,
        }
    }

    /// Whether the connection is whole. If not, that is told when the peer has nothing more to say.
    ///
    /// Its last words may be there and still have to be waited for: the runtime has not looked
    /// since.
    fn poll_whole(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(broken) = &mut self.broken else { return Poll::Ready(Ok(())) };
        loop {
            let mut bytes = [0; 1024];
            let mut unread = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(cx, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {}
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(error)) => {
                    self.last_words.note(&error);
                    break;
                }
                Poll::Pending => {
                    ready!(broken.until.as_mut().poll(cx));
                    break;
                }
            }
        }
        match self.broken.take() {
            Some(Broken { error, .. }) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Sends what is gathered.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_whole(cx))?;
        while self.gathered.sent < self.gathered.bytes.len() {
            let unsent = &self.gathered.bytes[self.gathered.sent..];
            let written = Pin::new(&mut self.stream).poll_write(cx, unsent);
            match ready!(self.written(cx, written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.gathered.sent += written,
            }
        }
        self.gathered.bytes.clear();
        (self.gathered.sent, self.gathered.is_flushed) = (0, false);
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_whole(cx))?;
        // Whoever reads may wait for an answer to what it has flushed.
        if self.gathered.is_flushed
            && let Poll::Ready(Err(error)) = self.poll_send(cx)
        {
            return Poll::Ready(Err(error));
        }
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        read.map(|read| read.inspect_err(|error| self.last_words.note(error)))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_whole(cx))?;
        if !self.gathers {
            let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
            return self.written(cx, written);
        }
        if self.gathered.bytes.len() >= GATHERED {
            ready!(self.poll_send(cx))?;
        }
        self.gathered.is_flushed = false;
        let before = self.gathered.bytes.len();
        bufs.iter().for_each(|buf| self.gathered.bytes.extend_from_slice(buf));
        Poll::Ready(Ok(self.gathered.bytes.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        self.gathers || self.stream.is_write_vectored()
    }

    /// HTTP/2 flushes after each frame, though the next one is ready. So the first flush after
    /// a write only asks to be called once more, and it is the second that sends.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.gathered.bytes.is_empty() {
            if !self.gathered.is_flushed {
                self.gathered.is_flushed = true;
                cx.waker().wake_by_ref();
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_send(cx))?;
        }
        ready!(self.poll_whole(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.written(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.stream.inner().connected()
    }
}

#[cfg(all(test, feature = "otlp-grpc"))]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::config::env::TlsFiles;
    use crate::export::worker::OwnRuntime;

    const LONG: Duration = Duration::from_secs(30);

    /// A connection to a server that answers each `length` bytes with one.
    async fn connect(length: usize) -> TokioIo<Stream> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut bytes = vec![0; length];
            while socket.read_exact(&mut bytes).is_ok() {
                socket.write_all(b"!").unwrap();
            }
        });
        let config = tls::client_config(&TlsFiles::default(), false).unwrap();
        let mut connector = Connector::new(to, config, LONG).gathering();
        connector.call(Uri::default()).await.unwrap()
    }

    #[test]
    fn what_is_flushed_once_is_sent_before_an_answer_is_waited_for() {
        OwnRuntime::new().unwrap().block_on(async {
            for length in [1, GATHERED, 3 * GATHERED + 1] {
                let mut stream = connect(length).await.into_inner();
                for _ in 0..3 {
                    stream.write_all(&vec![7; length]).await.unwrap();
                    stream.flush().await.unwrap();
                    let mut answer = [0];
                    let reading = tokio::time::timeout(LONG, stream.read_exact(&mut answer));
                    reading.await.expect("there is an answer").unwrap();
                }
            }
        });
    }

    #[test]
    fn frames_that_are_flushed_one_by_one_are_sent_together() {
        OwnRuntime::new().unwrap().block_on(async {
            let mut stream = connect(10_000).await.into_inner();
            // As HTTP/2 does it, in one turn.
            poll_fn(|cx| {
                for _ in 0..10 {
                    let written = Pin::new(&mut stream).poll_write(cx, &[7; 1_000]);
                    assert!(matches!(written, Poll::Ready(Ok(1_000))), "{written:?}");
                    let flushed = Pin::new(&mut stream).poll_flush(cx);
                    assert!(flushed.is_ready(), "{flushed:?}");
                }
                assert_eq!(stream.gathered.bytes.len(), 10_000);
                Poll::Ready(())
            })
            .await;
            stream.flush().await.unwrap();
            assert_eq!(stream.gathered.bytes.len(), 0);
            stream.read_exact(&mut [0]).await.unwrap();
        });
    }
}
