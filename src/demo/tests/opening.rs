//! How the shop opens and closes.

use super::proxy::Side;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn users_come_on_their_own_and_a_stopping_shop_answers_and_stores_what_it_took() {
    let shop = Running::with_users(100.0).await;
    let mut look = tokio::time::interval(Duration::from_millis(5));
    let enough = async {
        while shop.handle.stats().requests < 50 {
            look.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), enough)
        .await
        .expect("50 requests within 30 s");
    let front = shop.workloads[0].upstream;
    shop.stop.send(()).unwrap();
    let stats = shop.handle.stopped().await;
    let entered = |seen: &&Seen| seen.side == Side::Inbound && seen.service == PAYMENT;
    let paid = shop.log.lock().unwrap().iter().filter(entered).count() as u64;
    assert_eq!((stats.failed, stats.orders), (0, paid), "{stats:?}");
    assert!(
        tokio::net::TcpStream::connect(front).await.is_err(),
        "the front still listens"
    );
}

#[tokio::test]
async fn a_control_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let control = taken.local_addr().unwrap();
    let error = Shop::bind(ShopSettings {
        control,
        ..ShopSettings::default()
    })
    .await
    .err()
    .unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&format!("`{control}`")), "{error}");
}

#[tokio::test]
async fn settings_out_of_range_are_refused() {
    for (requests_per_second, error_rate) in [(-1.0, 0.0), (f64::NAN, 0.0), (20.0, 1.1), (20.0, f64::NAN)] {
        let settings = ShopSettings {
            control: any_port(),
            requests_per_second,
            error_rate,
            flaws: false,
        };
        let error = Shop::bind(settings).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
