//! Account auth: who a request's headers say is calling, and who may not be believed.

use std::time::Duration;

use local::{Front, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use shared::time::Timestamp;
use tests::{Answer, Client, Hotkey, Night, World, stack, text};
use uuid::Uuid;

const NOBODY: &str = "Missing or invalid authorization header(s)";
const UNKNOWN: &str = "Invalid token or user not found";
/// When the signatures and tokens in `data/` are good, in seconds.
const THEN: i64 = 1_795_000_000;

/// A request with these headers and no others of anybody's.
async fn send(method: &str, url: &str, body: &str, headers: &[(&str, String)]) -> Answer {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Client::nobody().send(method.parse().unwrap(), url, body.into(), &headers).await
}

/// A request that only asks who is calling: 404 for somebody, 401 for nobody.
async fn ask(headers: &[(&str, String)]) -> Answer {
    send("GET", NO_JOB, "", headers).await
}

const NO_JOB: &str = "/jobs/00000000-0000-4000-8000-000000000000";

#[track_caller]
fn is_somebody(answer: &Answer) {
    answer.is_error(404, "Job 00000000-0000-4000-8000-000000000000 not found or does not belong to you");
}

fn bearer(credential: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {credential}"))]
}

fn now() -> i64 {
    stack().clock().now() / 1000
}

/// A stack whose clock stands at [`THEN`] and which accepts the JWTs in `data/`.
async fn stack_of_then() -> Stack {
    let stack = Stack::builder()
        .parameter("UserJwtKeys", jwts()["jwks"].to_string())
        .parameter("UserJwtIssuer", "https://id.example")
        .parameter("UserJwtAudience", "jobchute")
        .start();
    let stack = stack.await.unwrap();
    stack.clock().set(THEN * 1000);
    stack
}

fn jwts() -> Value {
    serde_json::from_str(include_str!("../data/user-jwts.json")).unwrap()
}

#[tokio::test]
async fn every_account_route_refuses_a_stranger_before_anything_else() {
    for (method, path) in [
        ("POST", "/jobs/nonsense/train"),
        ("GET", "/jobs/nonsense"),
        ("DELETE", "/jobs/nonsense"),
        ("GET", "/jobs/nonsense/download/nonsense"),
        ("GET", "/jobs/claimable"),
        ("PUT", "/jobs/nonsense/claim"),
    ] {
        let answer = send(method, path, "not JSON", &[]).await;
        answer.is_error(401, NOBODY);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{method} {path}");
    }
}

#[tokio::test]
async fn half_of_the_credentials_is_none() {
    let hotkey = Hotkey::generate();
    let [name, nonce, signature] = hotkey.headers("GET", NO_JOB, b"");
    for headers in [
        vec![name.clone(), nonce.clone()],
        vec![nonce.clone(), signature.clone()],
        vec![name.clone(), nonce.clone(), ("x-chutes-signature", String::new())],
        vec![("x-chutes-hotkey", String::new()), nonce, signature],
        vec![("authorization", String::new())],
        vec![("authorization", "Bearer".to_owned())],
        vec![("authorization", "Basic dXNlcjpwYXNzd29yZA==".to_owned())],
        vec![("authorization", "Bearer ü".to_owned())],
        vec![("authorization", "eyJhbGciOiJub25lIn0.e30.".to_owned())],
    ] {
        ask(&headers).await.is_error(401, NOBODY);
    }
}

#[tokio::test]
async fn half_of_a_hotkeys_headers_leaves_it_to_the_authorization() {
    let world = World::new().await;
    let [name, nonce, signature] = world.hotkey.headers("GET", NO_JOB, b"");
    let key = ("authorization", format!("Bearer {}", world.key));
    for half in [
        vec![name.clone(), nonce.clone()],
        vec![nonce.clone(), signature.clone()],
        vec![name, nonce.clone(), ("x-chutes-signature", String::new())],
        vec![("x-chutes-hotkey", String::new()), nonce, signature],
    ] {
        is_somebody(&ask(&[half, vec![key.clone()]].concat()).await);
    }
}

#[tokio::test]
async fn issuer_and_audience_count_only_where_they_are_configured() {
    let data = jwts();
    let stack = Stack::builder().parameter("UserJwtKeys", data["jwks"].to_string()).start().await.unwrap();
    stack.clock().set(THEN * 1000);
    stack.invoke("admin", json!({"command": "create_user", "user_id": data["user_id"]})).await.unwrap();
    let mut others = 0;
    for case in data["bad"].as_array().unwrap() {
        if ["no iss", "another iss", "no aud", "another aud"].contains(&case[0].as_str().unwrap()) {
            let url = format!("{}{NO_JOB}", stack.url());
            is_somebody(&send("GET", &url, "", &bearer(case[1].as_str().unwrap())).await);
            others += 1;
        }
    }
    assert_eq!(others, 4);
    stack.shutdown().await;
}

#[tokio::test]
async fn the_signatures_of_the_chutes_sdks_own_library_open_every_route() {
    let stack = stack_of_then().await;
    let signatures: Vec<Value> = serde_json::from_str(include_str!("../data/hotkey-signatures.json")).unwrap();
    let chute = tests::chute("3f0a1f6e-0000-4000-8000-000000000001", "7c1d0a52-0000-4000-8000-00000000000a");
    let user_ids = ["7c1d0a52-0000-4000-8000-00000000000a", "7c1d0a52-0000-4000-8000-00000000000b"];
    for (signer, user_id) in ["alice", "bob"].iter().zip(user_ids) {
        let hotkey = &signatures.iter().find(|signed| signed["signer"] == *signer).unwrap()["hotkey"];
        for command in [
            json!({"command": "create_user", "user_id": user_id}),
            json!({"command": "register_hotkey", "user_id": user_id, "hotkey": hotkey}),
        ] {
            stack.invoke("admin", command).await.unwrap();
        }
    }
    stack.invoke("admin", json!({"command": "put_chute", "chute": chute})).await.unwrap();

    let mut opened = 0;
    for signed in signatures.iter().filter(|signed| signed["path"].is_string()) {
        let (method, path) = (text(&signed["method"]), text(&signed["path"]));
        let body = signed["body"].as_str().unwrap_or_default();
        let headers = [
            ("x-chutes-hotkey", text(&signed["hotkey"])),
            ("x-chutes-nonce", text(&signed["nonce"])),
            ("x-chutes-signature", text(&signed["signature"])),
        ];
        let answer = send(&method, &format!("{}{path}", stack.url()), body, &headers).await;
        if method == "POST" {
            let user_id = if signed["signer"] == "alice" { user_ids[0] } else { user_ids[1] };
            assert_eq!(answer.ok()["user_id"], user_id, "{}", signed["case"]);
        } else {
            answer.is_error(404, "Job 7c1d0a52-0000-4000-8000-000000000002 not found or does not belong to you");
        }
        opened += 1;
    }
    assert_eq!(opened, 12);
}

#[tokio::test]
async fn a_nonce_is_good_for_less_than_600_seconds_either_way() {
    let stack = stack_of_then().await;
    let hotkey = Hotkey::generate();
    let user = stack.invoke("admin", json!({"command": "create_user"})).await.unwrap();
    let register = json!({"command": "register_hotkey", "user_id": user["user_id"], "hotkey": hotkey.address});
    stack.invoke("admin", register).await.unwrap();
    let ask_at = async |nonce: i64| {
        let headers = hotkey.headers_over(&nonce.to_string(), &format!("GET:{NO_JOB}"));
        send("GET", &format!("{}{NO_JOB}", stack.url()), "", &headers).await
    };
    for nonce in [THEN - 599, THEN, THEN + 599] {
        is_somebody(&ask_at(nonce).await);
    }
    for nonce in [0, THEN - 600, THEN + 600, i64::MAX] {
        ask_at(nonce).await.is_error(401, "Invalid nonce!");
    }
}

#[tokio::test]
async fn defect_13_a_nonce_that_is_no_decimal_number_is_refused() {
    let world = World::new().await;
    let now = now();
    is_somebody(&ask(&world.hotkey.headers_over(&now.to_string(), &format!("GET:{NO_JOB}"))).await);
    for nonce in [
        "".to_owned(),
        "²".to_owned(),
        format!("{now}²"),
        "１７９５０００００００".to_owned(),
        format!("+{now}"),
        format!("-{now}"),
        format!("{now}.0"),
        format!("{now}e0"),
        format!("{now:#x}"),
        format!("{now}, {now}"),
        format!("{now}000000000000000"),
        "now".to_owned(),
    ] {
        // Signed as it stands: the nonce alone is at fault.
        let headers = world.hotkey.headers_over(&nonce, &format!("GET:{NO_JOB}"));
        assert_eq!(ask(&headers).await.error(), (401, "Invalid nonce!".into()), "{nonce:?}");
    }
    let [name, _, signature] = world.hotkey.headers_over("", &format!("GET:{NO_JOB}"));
    ask(&[name, signature]).await.is_error(401, "Invalid nonce!");
}

#[tokio::test]
async fn a_signature_opens_what_was_signed_and_nothing_else() {
    let world = World::new().await;
    let nonce = now().to_string();
    let get = world.hotkey.headers_over(&nonce, &format!("GET:{NO_JOB}"));
    is_somebody(&ask(&get).await);
    is_somebody(&send("GET", &format!("{NO_JOB}?the=query&is=not#signed"), "", &get).await);

    send("DELETE", NO_JOB, "", &get).await.is_error(401, NOBODY);
    send("GET", &format!("/jobs/{}", Uuid::nil()), "", &get).await.is_error(401, NOBODY);
    let create = format!("/jobs/{}/train", world.chute_id);
    let post = world.hotkey.headers("POST", &create, b"{\"epochs\":3}");
    send("POST", &create, "{\"epochs\":4}", &post).await.is_error(401, NOBODY);
    send("POST", &create, "", &post).await.is_error(401, NOBODY);
    assert_eq!(send("POST", &create, "{\"epochs\":3}", &post).await.ok()["method"], "train");
}

#[tokio::test]
async fn a_message_wrapped_in_bytes_is_the_same_message() {
    let world = World::new().await;
    let mut headers = world.hotkey.headers("GET", NO_JOB, b"");
    let message = format!("{}:{}:GET:{NO_JOB}", world.hotkey.address, headers[1].1);
    headers[2].1 = world.hotkey.sign(&format!("<Bytes>{message}</Bytes>"));
    is_somebody(&ask(&headers).await);
    headers[2].1 = world.hotkey.sign(&format!("<bytes>{message}</bytes>"));
    ask(&headers).await.is_error(401, NOBODY);
}

#[tokio::test]
async fn a_forged_or_broken_signature_is_refused_whatever_else_is_there() {
    let world = World::new().await;
    let [name, nonce, (_, good)] = world.hotkey.headers("GET", NO_JOB, b"");
    let message = format!("{}:{}:GET:{NO_JOB}", name.1, nonce.1);
    for signature in [
        Hotkey::generate().sign(&message),
        good[..126].to_owned(),
        format!("{good}00"),
        format!("{good},{good}"),
        "not hex".to_owned(),
        "0".repeat(128),
        "f".repeat(128),
    ] {
        let authorization = ("authorization", format!("Bearer {}", world.key));
        let headers = [name.clone(), nonce.clone(), ("x-chutes-signature", signature), authorization];
        ask(&headers).await.is_error(401, NOBODY);
    }
}

#[tokio::test]
async fn a_hotkey_that_nobody_registered_is_nobody() {
    let hotkey = Hotkey::generate();
    let detail = format!("Could not find user with hotkey: {}", hotkey.address);
    ask(&hotkey.headers("GET", NO_JOB, b"")).await.is_error(401, &detail);
    for address in ["nonsense", "", "5", &hotkey.address[1..], "ü"] {
        let mut headers = hotkey.headers("GET", NO_JOB, b"");
        headers[0].1 = address.to_owned();
        ask(&headers).await.is_error(401, NOBODY);
    }
}

#[tokio::test]
async fn defect_6_a_hotkey_creates_reads_and_deletes_a_job() {
    let world = World::new().await;
    let user = Client::with_hotkey(World::hotkey(&world.user_id).await);
    let job = user.post(&format!("/jobs/{}/train", world.chute_id), json!({})).await.ok();
    assert_eq!(job["user_id"], world.user_id);
    let path = format!("/jobs/{}", text(&job["job_id"]));
    assert_eq!(user.get(&path).await.ok()["status"], "pending");
    assert_eq!(user.delete(&path).await.ok()["deleted"], true);
    assert_eq!(user.get(&path).await.status, 404);
}

/// Behind a REST API the last of them counts, since it is all that `lambda_http` hands over.
#[tokio::test]
async fn a_header_given_twice_is_refused() {
    let world = World::new().await;
    let [name, nonce, signature] = world.hotkey.headers("GET", NO_JOB, b"");
    let good = [name, nonce, signature];
    is_somebody(&ask(&good).await);
    let last_counts = Front::of_environment() == Front::RestApi;
    for (at, detail) in [(0, NOBODY), (1, "Invalid nonce!"), (2, NOBODY)] {
        let wrong = (good[at].0, "5".to_owned());
        for given in [good[at].clone(), wrong.clone()] {
            let headers = [[given].as_slice(), good.as_slice()].concat();
            let answer = ask(&headers).await;
            if last_counts { is_somebody(&answer) } else { answer.is_error(401, detail) }
        }
        assert_eq!(ask(&[good.as_slice(), &[wrong]].concat()).await.status, 401);
    }
    for credential in [world.key.clone(), format!("Bearer {}", world.key)] {
        let header = ("authorization", credential);
        is_somebody(&ask(std::slice::from_ref(&header)).await);
        for given in [header.clone(), ("authorization", "nonsense".to_owned())] {
            let answer = ask(&[given.clone(), header.clone()]).await;
            if last_counts { is_somebody(&answer) } else { answer.is_error(401, NOBODY) }
        }
        ask(&[header, ("authorization", "nonsense".to_owned())]).await.is_error(401, NOBODY);
    }
}

#[tokio::test]
async fn an_api_key_is_the_last_word_of_its_header() {
    let world = World::new().await;
    for prefix in ["", "Bearer ", "bearer ", "Bearer  ", "Token token "] {
        is_somebody(&ask(&[("authorization", format!("{prefix}{}", world.key))]).await);
    }
}

#[tokio::test]
async fn a_key_that_is_not_exactly_the_one_that_was_minted_is_refused() {
    let world = World::new().await;
    let (stranger, _) = World::account(json!([])).await;
    let [key_id, user_id, secret] = world.key.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let other = if secret.ends_with('A') { "B" } else { "A" };
    let dashed = Uuid::try_parse(user_id).unwrap();
    for key in [
        format!("{key_id}.{user_id}.{}{other}", &secret[..31]),
        format!("{key_id}.{}.{secret}", stranger.replace('-', "")),
        format!("cpk_{}.{user_id}.{secret}", Uuid::new_v4().simple()),
        format!("{key_id}.{dashed}.{secret}"),
        format!("{key_id}.{}.{secret}", user_id.to_uppercase().replace(|char: char| char.is_numeric(), "A")),
        format!("{key_id}.{user_id}.{}", &secret[..31]),
        format!("{key_id}.{user_id}.{secret}A"),
        format!("{key_id}.{user_id}.{secret}.{secret}"),
        format!("{key_id}.{user_id}.{}-", &secret[..31]),
        format!("{key_id}.{user_id}"),
        "cpk_".to_owned(),
        "cpk_..".to_owned(),
        format!("cpk_{}", "x".repeat(8000)),
    ] {
        assert_eq!(ask(&bearer(&key)).await.error(), (401, UNKNOWN.into()), "{key}");
    }
    is_somebody(&ask(&bearer(&world.key)).await);
}

#[tokio::test]
async fn a_revoked_key_opens_nothing_and_the_users_other_key_still_does() {
    let world = World::new().await;
    let other = World::admin(json!({"command": "create_key", "user_id": world.user_id})).await;
    World::admin(json!({"command": "revoke_key", "key_id": other["key_id"]})).await;
    ask(&bearer(&text(&other["key"]))).await.is_error(401, UNKNOWN);
    is_somebody(&ask(&bearer(&world.key)).await);
}

#[tokio::test]
async fn a_revoked_hotkey_is_nobodys_until_it_is_registered_again() {
    let world = World::new().await;
    let address = world.hotkey.address.clone();
    let headers = || world.hotkey.headers("GET", NO_JOB, b"");
    is_somebody(&ask(&headers()).await);
    let revoke = json!({"command": "revoke_hotkey", "hotkey": address});
    assert_eq!(World::admin(revoke).await, json!({"hotkey": address}));
    ask(&headers()).await.is_error(401, &format!("Could not find user with hotkey: {address}"));
    World::admin(json!({"command": "register_hotkey", "user_id": world.user_id, "hotkey": address})).await;
    is_somebody(&ask(&headers()).await);
}

#[tokio::test]
async fn a_disabled_user_is_nobody_until_enabled() {
    let world = World::new().await;
    World::admin(json!({"command": "disable_user", "user_id": world.user_id})).await;
    World::admin(json!({"command": "disable_user", "user_id": world.miner_id})).await;
    ask(&bearer(&world.key)).await.is_error(401, UNKNOWN);
    world.miner.get(NO_JOB).await.is_error(401, UNKNOWN);
    World::admin(json!({"command": "enable_user", "user_id": world.user_id})).await;
    is_somebody(&ask(&bearer(&world.key)).await);
}

#[tokio::test]
async fn a_user_jwt_opens_routes_until_it_expires() {
    let stack = stack_of_then().await;
    let data = jwts();
    let ask = async |token: &Value| {
        send("GET", &format!("{}{NO_JOB}", stack.url()), "", &bearer(token.as_str().unwrap())).await
    };
    let good: Vec<_> = data["good"].as_array().unwrap().iter().map(|case| &case[1]).collect();
    ask(good[0]).await.is_error(401, UNKNOWN);
    stack.invoke("admin", json!({"command": "create_user", "user_id": data["user_id"]})).await.unwrap();
    for token in &good {
        is_somebody(&ask(token).await);
    }
    // More than a minute before the one that is not yet valid becomes so.
    stack.clock().set((THEN - 20) * 1000);
    for case in data["bad"].as_array().unwrap() {
        assert_eq!(ask(&case[1]).await.error(), (401, "Invalid token.".into()), "{}", case[0]);
    }
    let token = good[0].as_str().unwrap();
    for broken in [&token[..token.len() - 1], &token[1..], token.rsplit_once('.').unwrap().0, "a.b.c", ".."] {
        assert_eq!(ask(&broken.into()).await.error(), (401, "Invalid token.".into()), "{broken}");
    }
    stack.clock().set((THEN + 99) * 1000);
    is_somebody(&ask(good[0]).await);
    stack.clock().set((THEN + 100) * 1000);
    for token in &good {
        ask(token).await.is_error(401, "Token expired.");
    }
    stack.clock().set(THEN * 1000);
    stack.invoke("admin", json!({"command": "disable_user", "user_id": data["user_id"]})).await.unwrap();
    ask(good[0]).await.is_error(401, UNKNOWN);
}

#[tokio::test]
async fn a_user_jwt_creates_a_job_of_its_subjects() {
    let stack = stack_of_then().await;
    let data = jwts();
    let chute_id = Uuid::new_v4().to_string();
    for command in [
        json!({"command": "create_user", "user_id": data["user_id"]}),
        json!({"command": "put_chute", "chute": tests::chute(&chute_id, data["user_id"].as_str().unwrap())}),
    ] {
        stack.invoke("admin", command).await.unwrap();
    }
    let create = format!("{}/jobs/{chute_id}/train", stack.url());
    let job = send("POST", &create, "", &bearer(data["good"][0][1].as_str().unwrap())).await.ok();
    assert_eq!(job["user_id"], data["user_id"]);
}

#[tokio::test]
async fn without_configured_keys_no_jwt_is_good() {
    for case in jwts()["good"].as_array().unwrap() {
        ask(&bearer(case[1].as_str().unwrap())).await.is_error(401, "Invalid token.");
    }
}

#[tokio::test]
async fn only_the_miner_role_opens_the_miners_routes() {
    let world = World::new().await;
    let job_id = world.create().await;
    let (claim, list) = (format!("/jobs/{job_id}/claim"), format!("/jobs/claimable?chute_id={}", world.chute_id));
    let refused = "Only accounts with the miner role may do this";
    world.user.put(&claim, Value::Null).await.is_error(403, refused);
    world.user.get(&list).await.is_error(403, refused);
    world.user.send(Method::PUT, &claim, b"not JSON".to_vec(), &[]).await.is_error(403, refused);
    world.user.get("/jobs/claimable").await.is_error(403, refused);

    World::admin(json!({"command": "set_roles", "user_id": world.miner_id, "roles": []})).await;
    world.miner.get(&list).await.is_error(403, refused);
    World::admin(json!({"command": "set_roles", "user_id": world.user_id, "roles": ["miner"]})).await;
    assert_eq!(world.user.get(&list).await.ok()["jobs"][0]["job_id"], job_id);
    assert_eq!(world.user.put(&claim, Value::Null).await.ok()["attempt"], 1);
}

#[tokio::test]
async fn a_key_with_an_end_opens_nothing_from_then_on_and_is_told_until_then() {
    let night = Night::begin().await;
    let admin = async |command: Value| night.stack.invoke("admin", command).await.unwrap();
    let end = "2100-01-01T00:00:00Z";
    let command = json!({"command": "create_key", "user_id": night.user_id, "name": "laptop", "expires_at": end});
    let made = admin(command).await;
    let client = Client::with_key(text(&made["key"]));
    let answer = client.get(&night.url("/jobs")).await;
    assert_eq!((answer.status, answer.header("x-api-key-expires-at")), (200, Some("2100-01-01T00:00:00.000Z")));
    let unlimited = night.user.get(&night.url("/jobs")).await;
    assert_eq!(unlimited.header("x-api-key-expires-at"), None);

    // An administrator moves the end; to the second at which it comes, the key is good.
    let now = Timestamp::from_millis(1_795_000_000_000);
    night.stack.clock().set(now.millis());
    admin(json!({"command": "update_key", "key_id": made["key_id"], "expires_at": now.plus_seconds(10).to_string()})).await;
    night.stack.clock().advance(Duration::from_secs(9));
    assert_eq!(client.get(&night.url("/jobs")).await.status, 200);
    night.stack.clock().advance(Duration::from_secs(1));
    client.get(&night.url("/jobs")).await.is_error(401, "Invalid token or user not found");
    admin(json!({"command": "update_key", "key_id": made["key_id"], "expires_at": null, "name": "desk"})).await;
    assert_eq!(client.get(&night.url("/jobs")).await.status, 200);
    let listed = admin(json!({"command": "list_keys", "user_id": night.user_id})).await;
    let key = listed["keys"].as_array().unwrap().iter().find(|key| key["key_id"] == made["key_id"]).unwrap();
    assert_eq!((&key["name"], &key["expires_at"], &key["roles"]), (&json!("desk"), &Value::Null, &json!(["user", "miner"])));
    night.stack.shutdown().await;
}

#[tokio::test]
async fn a_key_opens_what_its_roles_say() {
    let (account, _) = World::account(json!(["miner"])).await;
    let key = async |roles: Value| {
        let made = World::admin(json!({"command": "create_key", "user_id": account, "roles": roles})).await;
        (Client::with_key(text(&made["key"])), text(&made["key_id"]))
    };
    let chute = Uuid::new_v4();
    let (user, user_key) = key(json!(["user"])).await;
    let (miner, _) = key(json!(["miner"])).await;
    let (both, _) = key(json!(null)).await;
    let claimable = format!("/jobs/claimable?chute_id={chute}");
    for (client, as_user, as_miner) in [(&user, 200, 403), (&miner, 403, 404), (&both, 200, 404)] {
        assert_eq!((client.get("/jobs").await.status, client.get(&claimable).await.status), (as_user, as_miner));
    }
    user.get(&claimable).await.is_error(403, "This API key does not have the role miner");
    miner.get("/usage").await.is_error(403, "This API key does not have the role user");
    World::admin(json!({"command": "update_key", "key_id": user_key, "roles": ["miner"]})).await;
    assert_eq!((user.get("/jobs").await.status, user.get(&claimable).await.status), (403, 404));
    for (field, wrong, why) in [
        ("roles", json!([]), "roles is empty: the key would open nothing"),
        ("name", json!(""), "name is not a text of 1 to 64 printable characters"),
        ("name", json!("a\nb"), "name is not a text of 1 to 64 printable characters"),
        ("expires_at", json!("tomorrow"), "expires_at is not RFC 3339"),
    ] {
        for mut command in [
            json!({"command": "create_key", "user_id": account}),
            json!({"command": "update_key", "key_id": user_key}),
        ] {
            command[field] = wrong.clone();
            assert_eq!(World::refused(command).await, why);
        }
    }
    let unknown = Uuid::new_v4();
    let refused = World::refused(json!({"command": "update_key", "key_id": unknown, "name": "x"})).await;
    assert_eq!(refused, format!("API key {unknown} not found"));
}
