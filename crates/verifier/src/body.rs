use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tracing::Span;

use crate::tenure::Tenure;

pin_project! {
    /// The body of an answer: the server's own, ended in time where a descriptor governs it, or
    /// that of a refusal.
    pub struct ConnectBody<B> {
        #[pin]
        kind: Kind<B>,
        // Around what the server does to make it.
        span: Span,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<B> {
        Ended,
        Governed {
            #[pin]
            body: B,
            tenure: Tenure,
        },
        Refusal { body: Bytes },
        Unlimited {
            #[pin]
            body: B,
        },
    }
}

impl<B> ConnectBody<B> {
    pub(crate) const fn governed(body: B, tenure: Tenure, span: Span) -> Self {
        Self {
            kind: Kind::Governed { body, tenure },
            span,
        }
    }

    pub(crate) fn refusal(body: Bytes) -> Self {
        Self {
            kind: Kind::Refusal { body },
            span: Span::none(),
        }
    }

    /// … for as long as it likes.
    pub(crate) const fn unlimited(body: B, span: Span) -> Self {
        Self {
            kind: Kind::Unlimited { body },
            span,
        }
    }

    pub(crate) fn ungoverned(body: B) -> Self {
        Self::unlimited(body, Span::none())
    }
}

impl<B: Body<Data = Bytes>> Body for ConnectBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let (mut kind, span) = (this.kind, this.span);
        match kind.as_mut().project() {
            KindProjection::Ended => Poll::Ready(None),
            KindProjection::Governed { body, tenure } => {
                // The tenure comes first: a body that always has a frame ready must end too.
                if !tenure.is_over() {
                    if let Poll::Ready(frame) = span.in_scope(|| body.poll_frame(cx)) {
                        return Poll::Ready(frame);
                    }
                    ready!(tenure.poll_end(cx));
                }
                tenure.report_end();
                kind.set(Kind::Ended);
                Poll::Ready(None)
            }
            KindProjection::Refusal { body } => {
                let body = std::mem::take(body);
                kind.set(Kind::Ended);
                Poll::Ready(Some(Ok(Frame::data(body))))
            }
            KindProjection::Unlimited { body } => span.in_scope(|| body.poll_frame(cx)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Ended => true,
            Kind::Refusal { .. } => false,
            Kind::Governed { body, .. } | Kind::Unlimited { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Ended => SizeHint::with_exact(0),
            Kind::Refusal { body } => SizeHint::with_exact(body.len() as u64),
            Kind::Governed { body, .. } | Kind::Unlimited { body } => body.size_hint(),
        }
    }
}
