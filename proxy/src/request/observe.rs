//! The end of every exchange: its receipt, written when the last byte has left or the client has gone.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, ready};

use bulaq_allowlist::Traffic;
use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::{BodyError, Handled, ResponseBody, Source, Way};
use crate::ledger::{Ledger, Receipt};

/// The response with a body that writes the receipt of the exchange.
pub(super) fn observed(ledger: &Arc<Ledger>, way: Way, response: Response<ResponseBody>) -> Response<ResponseBody> {
    let receipt = open(&response, way);
    response.map(|body| Counted { body, receipt, ledger: Arc::clone(ledger) }.boxed_unsync())
}

/// The receipt as far as the head tells it.
fn open(response: &Response<ResponseBody>, way: Way) -> Receipt {
    let handled = response.extensions().get::<Handled>();
    let site = handled.and_then(|handled| handled.permit.as_ref()).map(|permit| permit.site());
    Receipt {
        site: site.map(|site| Arc::clone(site.shared_name())),
        is_zero_rated: site.is_some_and(|site| site.traffic() == Traffic::ZeroRated),
        way,
        source: handled.map_or(Source::Box, |handled| handled.source),
        status: response.status().as_u16(),
        reason: handled.map_or("", |handled| handled.reason),
        lan_bytes: 0,
        wan_bytes: 0, // counted by whoever reads the origin: a fill outlives its first reader
    }
}

/// A body that counts itself, and hands in the receipt when it is dropped: then it is at its end, or nobody wants more.
struct Counted {
    body: ResponseBody,
    receipt: Receipt,
    ledger: Arc<Ledger>,
}

impl Body for Counted {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(task));
        if let Some(Ok(frame)) = &frame {
            self.receipt.lan_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.ledger.add(&self.receipt);
    }
}
