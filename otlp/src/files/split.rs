//! Requests of a size that receivers take.
//!
//! In: resource spans. Out: one request where they fit, else several, each repeating the resource and scope
//! of its spans.
//! Left out on purpose: joining small ones, which would blur when they were recorded.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::Request;
use super::convert::count;

/// Bytes of a request: half of what gRPC receivers take by default.
pub(super) const MAX_REQUEST: usize = 2 << 20;

/// Tag and length of a field below 256 MiB.
const FIELD: usize = 5;

pub(super) fn split(resources: Vec<ResourceSpans>) -> Vec<Request> {
    split_at(resources, MAX_REQUEST)
}

fn split_at(resources: Vec<ResourceSpans>, limit: usize) -> Vec<Request> {
    let request = ExportTraceServiceRequest {
        resource_spans: resources,
    };
    if request.encoded_len() <= limit {
        return finished(&request).into_iter().collect();
    }
    let mut cut = Cut {
        limit,
        done: Vec::new(),
        open: Vec::new(),
        size: 0,
    };
    for mut resource in request.resource_spans {
        for mut scope in std::mem::take(&mut resource.scope_spans) {
            let spans = std::mem::take(&mut scope.spans);
            cut.add(&resource, &scope, spans);
        }
    }
    cut.close();
    cut.done
}

struct Cut {
    limit: usize,
    done: Vec<Request>,
    open: Vec<ResourceSpans>,
    size: usize,
}

impl Cut {
    fn add(&mut self, resource: &ResourceSpans, scope: &ScopeSpans, spans: Vec<Span>) {
        let head = resource.encoded_len() + scope.encoded_len() + 2 * FIELD;
        let mut part = Vec::new();
        self.size += head;
        for span in spans {
            let size = span.encoded_len() + FIELD;
            if self.size + size > self.limit && (self.size > head || !part.is_empty()) {
                self.put(resource, scope, std::mem::take(&mut part));
                self.close();
                self.size = head;
            }
            self.size += size;
            part.push(span);
        }
        self.put(resource, scope, part);
    }

    fn put(&mut self, resource: &ResourceSpans, scope: &ScopeSpans, spans: Vec<Span>) {
        if !spans.is_empty() {
            let scope = ScopeSpans {
                spans,
                ..scope.clone()
            };
            self.open.push(ResourceSpans {
                scope_spans: vec![scope],
                ..resource.clone()
            });
        }
    }

    fn close(&mut self) {
        let request = ExportTraceServiceRequest {
            resource_spans: std::mem::take(&mut self.open),
        };
        self.done.extend(finished(&request));
        self.size = 0;
    }
}

fn finished(request: &ExportTraceServiceRequest) -> Option<Request> {
    let spans = count(&request.resource_spans);
    (spans > 0).then(|| Request {
        body: request.encode_to_vec().into(),
        spans,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(url: &str, spans: usize) -> ResourceSpans {
        let span = |n| Span {
            name: format!("{url} {n:03}"),
            ..Span::default()
        };
        let scope = ScopeSpans {
            spans: (0..spans).map(span).collect(),
            ..ScopeSpans::default()
        };
        ResourceSpans {
            schema_url: url.into(),
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }
    }

    fn names(requests: &[Request]) -> Vec<String> {
        let mut names = Vec::new();
        for request in requests {
            let body = ExportTraceServiceRequest::decode(request.body.clone()).expect("our own bytes");
            assert_eq!(count(&body.resource_spans), request.spans);
            for resource in body.resource_spans {
                for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    assert!(
                        span.name.starts_with(&resource.schema_url),
                        "{span:?} lies below its own resource"
                    );
                    names.push(span.name);
                }
            }
        }
        names
    }

    #[test]
    fn a_large_request_is_cut_into_small_ones_of_the_same_spans() {
        let resources = vec![resource("a", 40), resource("b", 3), resource("c", 40)];
        let whole = names(&split_at(resources.clone(), usize::MAX));
        let parts = split_at(resources, 200);
        assert!(parts.len() > 5, "{} parts", parts.len());
        assert!(parts.iter().all(|part| part.body.len() <= 200));
        assert_eq!(names(&parts), whole);
    }

    #[test]
    fn a_span_larger_than_a_request_goes_alone() {
        let parts = split_at(vec![resource("a", 3)], 1);
        assert_eq!(parts.iter().map(|part| part.spans).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn resources_without_spans_make_no_request() {
        assert_eq!(split(vec![resource("a", 0)]), []);
    }
}
