//! What a request costs where nobody has installed a subscriber. In a process of its own: the first
//! subscriber ends that for good.
#![cfg(feature = "actix-web")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix_web::{App, HttpResponse, test, web};

/// `tracing`'s feature `log`, which actix-web turns on, looks at the values of spans that there is no
/// subscriber for.
#[actix_web::test]
async fn a_request_costs_no_look_at_its_values_where_tracing_is_off() {
    let looks = Arc::new(AtomicUsize::new(0));
    let look = Arc::clone(&looks);
    let tracing = spanbridge::ServerTracing::new().with_span_name_formatter(move |_, _| {
        look.fetch_add(1, Ordering::Relaxed);
        None
    });
    let app = App::new().wrap(tracing).route("/", web::get().to(HttpResponse::Ok));
    let app = test::init_service(app).await;
    let response = test::call_service(&app, test::TestRequest::default().to_request()).await;
    assert!(response.status().is_success());
    assert_eq!(looks.load(Ordering::Relaxed), 0);
}
