//! `admin`: invoked directly, never over HTTP.

use local::Fault;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::{Client, Hotkey, Night, World, chute, item, stack, text};
use uuid::Uuid;

const HOTKEY: &str = "5DtDLm5rQHShDqojQpsvcN8tRXHVFaecfDoRet1SU6BFD9Fi";

async fn row(pk: String) -> Value {
    item(stack(), "RegistryTable", "pk", &pk).await
}

#[tokio::test]
async fn an_account_gets_an_id_of_its_own_unless_one_is_given() {
    let user = World::admin(json!({"command": "create_user"})).await;
    assert_eq!(user.as_object().unwrap().len(), 1);
    let given = Uuid::new_v4().to_string();
    let user = World::admin(json!({"command": "create_user", "user_id": given, "roles": ["miner"]})).await;
    assert_eq!(user, json!({"user_id": given}));
    let made = World::admin(json!({"command": "create_user", "user_id": null})).await;
    assert!(made["user_id"].is_string(), "{made}");
}

#[tokio::test]
async fn an_account_that_exists_is_not_made_again() {
    let (user_id, _) = World::account(json!(["miner"])).await;
    let before = row(format!("user#{user_id}")).await;
    assert_eq!(World::refused(json!({"command": "create_user", "user_id": user_id})).await, format!("User {user_id} exists"));
    assert_eq!(row(format!("user#{user_id}")).await, before);
}

#[tokio::test]
async fn an_account_is_made_though_the_answer_of_its_write_is_lost() {
    let night = Night::begin().await;
    night.fail_once("PutItem", Fault::FailAfter);
    let made = night.stack.invoke("admin", json!({"command": "create_user"})).await.unwrap();
    night.stack.invoke("admin", json!({"command": "create_key", "user_id": made["user_id"]})).await.unwrap();
    night.stack.shutdown().await;
}

#[tokio::test]
async fn roles_state_and_quotas_change_alone() {
    let (user_id, key) = World::account(json!([])).await;
    for command in [
        json!({"command": "set_quotas", "user_id": user_id, "quotas": {"global": 5, "*": 1}}),
        json!({"command": "set_roles", "user_id": user_id, "roles": ["miner"]}),
        json!({"command": "disable_user", "user_id": user_id}),
    ] {
        assert_eq!(World::admin(command).await["user_id"], *user_id);
    }
    let user = row(format!("user#{user_id}")).await;
    assert_eq!(user["quotas"], json!({"M": {"global": {"N": "5"}, "*": {"N": "1"}}}));
    assert_eq!(user["disabled"], json!({"BOOL": true}));
    assert!(user["roles"].to_string().contains("miner"), "{user}");
    assert_eq!(Client::with_key(&key).get("/jobs/claimable").await.status, 401);
    World::admin(json!({"command": "enable_user", "user_id": user_id})).await;
    assert_eq!(Client::with_key(&key).get("/jobs/claimable").await.status, 422, "a miner that names no chute");
}

#[tokio::test]
async fn a_quota_is_of_a_chute_however_its_id_is_spelt_and_of_nothing_else() {
    let (user_id, _) = World::account(json!([])).await;
    let chute_id = Uuid::new_v4();
    let spelt = chute_id.simple().to_string().to_uppercase();
    World::admin(json!({"command": "set_quotas", "user_id": user_id, "quotas": {spelt: 0}})).await;
    let before = row(format!("user#{user_id}")).await["quotas"].take();
    assert_eq!(before, json!({"M": {chute_id.to_string(): {"N": "0"}}}));
    let wrong = json!({"command": "set_quotas", "user_id": user_id, "quotas": {"globl": 5}});
    assert_eq!(World::refused(wrong).await, "quota \"globl\" is no chute id, global or *");
    assert_eq!(row(format!("user#{user_id}")).await["quotas"], before);
}

#[tokio::test]
async fn administrators_at_once_do_not_undo_each_others_changes() {
    let (user_id, _) = World::account(json!([])).await;
    for round in 1..=8 {
        let (quotas, roles) = tokio::join!(
            World::admin(json!({"command": "set_quotas", "user_id": user_id, "quotas": {"*": round}})),
            World::admin(json!({"command": "disable_user", "user_id": user_id})),
        );
        assert_eq!(quotas["user_id"], roles["user_id"]);
        let user = row(format!("user#{user_id}")).await;
        assert_eq!(
            (&user["quotas"]["M"]["*"]["N"], &user["disabled"]["BOOL"]),
            (&json!(round.to_string()), &true.into())
        );
        World::admin(json!({"command": "enable_user", "user_id": user_id})).await;
    }
    let new = Uuid::new_v4();
    let asked = [json!([]), json!(["miner"])].map(|roles| json!({"command": "create_user", "user_id": new, "roles": roles}));
    let made = futures_util::future::join_all(asked.map(|create| tests::invoke("admin", create)));
    assert_eq!(made.await.into_iter().filter(Result::is_ok).count(), 1, "in the same millisecond too");
}

#[tokio::test]
async fn a_key_is_shown_once_and_only_its_hash_is_stored() {
    let (user_id, _) = World::account(json!([])).await;
    let made = World::admin(json!({"command": "create_key", "user_id": user_id})).await;
    let fields: Vec<_> = made.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["user_id", "key_id", "key"]);
    let (key, key_id) = (text(&made["key"]), text(&made["key_id"]).replace('-', ""));
    assert_eq!(key.len(), 102);
    assert!(key.starts_with(&format!("cpk_{key_id}.{}.", user_id.replace('-', ""))), "{key}");

    let stored = row(format!("key#{key_id}")).await;
    assert_eq!(stored["hash"], json!({"B": base64(&Sha256::digest(&key))}));
    let secret = key.rsplit('.').next().unwrap();
    assert!(!stored.to_string().contains(secret));
    assert!(stack().logs().iter().all(|line| !line.text.contains(secret)));

    let again = World::admin(json!({"command": "create_key", "user_id": user_id})).await;
    assert_ne!(again["key"], made["key"]);
    let revoked = World::admin(json!({"command": "revoke_key", "key_id": made["key_id"]})).await;
    assert_eq!(revoked, json!({"key_id": made["key_id"]}));
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}

#[tokio::test]
async fn a_hotkey_is_an_address_with_a_good_checksum() {
    let (user_id, _) = World::account(json!([])).await;
    let register = |hotkey: &str| json!({"command": "register_hotkey", "user_id": user_id, "hotkey": hotkey});
    let hotkey = Hotkey::generate().address;
    assert_eq!(World::admin(register(&hotkey)).await, json!({"user_id": user_id, "hotkey": hotkey}));
    assert_eq!(World::admin(register(&hotkey)).await, json!({"user_id": user_id, "hotkey": hotkey}));
    for bad in ["", "alice", &HOTKEY[1..], &HOTKEY.replace('D', "E"), &format!("{HOTKEY} "), &"5".repeat(1000)] {
        assert_eq!(World::refused(register(bad)).await, "hotkey is not an SS58 address of an sr25519 key", "{bad}");
    }
}

#[tokio::test]
async fn a_chute_is_replaced_as_a_whole() {
    let world = World::new().await;
    let mut changed = chute(&world.chute_id, &world.user_id);
    changed["name"] = "other".into();
    changed["image"] = Value::Null;
    changed["methods"] = json!([{"name": "größe", "timeout": 30}, {"name": "b", "timeout": 86_400}]);
    let answer = World::admin(json!({"command": "put_chute", "chute": changed})).await;
    assert_eq!(answer, json!({"chute_id": world.chute_id}));
    assert_eq!(world.user.post(&format!("/jobs/{}/train", world.chute_id), json!({})).await.status, 404);
    let job = world.user.post(&format!("/jobs/{}/gr%C3%B6%C3%9Fe", world.chute_id), json!({})).await.ok();
    assert_eq!(
        (&job["method"], &job["chute"]["name"], &job["chute"]["image"]),
        (&"größe".into(), &"other".into(), &Value::Null)
    );
}

#[tokio::test]
async fn a_chute_that_no_job_could_run_on_is_refused_and_changes_nothing() {
    let world = World::new().await;
    let before = row(format!("chute#{}", world.chute_id)).await;
    let put = async |methods: Value| {
        let mut chute = chute(&world.chute_id, &world.user_id);
        chute["methods"] = methods;
        World::refused(json!({"command": "put_chute", "chute": chute})).await
    };
    for (methods, detail) in [
        (json!([{"name": ""}]), "method name \"\" is empty, not unique or holds a slash"),
        (json!([{"name": "a/b"}]), "method name \"a/b\" is empty, not unique or holds a slash"),
        (json!([{"name": "a"}, {"name": "a"}]), "method name \"a\" is empty, not unique or holds a slash"),
        (json!([{"name": "a", "timeout": 29}]), "timeout of method \"a\" is not from 30 to 86400 seconds"),
        (json!([{"name": "a", "timeout": 86_401}]), "timeout of method \"a\" is not from 30 to 86400 seconds"),
        (json!([{"name": "a", "ports": [{"port": 0, "proto": "tcp"}]}]), "port 0/tcp of method \"a\" is none"),
        (json!([{"name": "a", "ports": [{"port": 1, "proto": "icmp"}]}]), "port 1/icmp of method \"a\" is none"),
    ] {
        assert_eq!(put(methods).await, detail);
    }
    for methods in [
        json!([{"name": "a", "ports": [{"port": 65_536, "proto": "tcp"}]}]),
        json!([{"name": "a", "timeout": "1h"}]),
        json!([{"name": "a", "retry": -1}]),
        json!([{"timeout": 60}]),
        json!("a"),
        Value::Null,
    ] {
        put(methods).await;
    }
    assert_eq!(row(format!("chute#{}", world.chute_id)).await, before);
}

#[tokio::test]
async fn what_a_command_names_has_to_exist() {
    let id = Uuid::new_v4().to_string();
    for command in [
        json!({"command": "set_roles", "user_id": id, "roles": ["miner"]}),
        json!({"command": "disable_user", "user_id": id}),
        json!({"command": "enable_user", "user_id": id}),
        json!({"command": "set_busy_user", "user_id": id}),
        json!({"command": "create_key", "user_id": id}),
        json!({"command": "register_hotkey", "user_id": id, "hotkey": HOTKEY}),
        json!({"command": "put_chute", "chute": chute(&Uuid::new_v4().to_string(), &id)}),
        json!({"command": "set_quotas", "user_id": id, "quotas": {}}),
        json!({"command": "list_jobs", "user_id": id}),
    ] {
        assert_eq!(World::refused(command).await, format!("User {id} not found"));
    }
    assert_eq!(row(format!("user#{id}")).await, Value::Null);
    assert_eq!(World::refused(json!({"command": "revoke_key", "key_id": id})).await, format!("API key {id} not found"));
    assert_eq!(World::refused(json!({"command": "revoke_hotkey", "hotkey": "x"})).await, "Hotkey x not found");
    for command in ["cancel_job", "delete_job"] {
        assert_eq!(World::refused(json!({"command": command, "job_id": id})).await, format!("Job {id} not found"));
    }
}

#[tokio::test]
async fn a_malformed_command_says_what_is_wrong() {
    let id = Uuid::new_v4();
    let with = |field: &str, value: Value| {
        let mut chute = chute(&id.to_string(), &id.to_string());
        chute[field] = value;
        chute
    };
    let mut told = String::new();
    for command in [
        json!({}),
        json!([]),
        Value::Null,
        json!({"command": "drop_tables"}),
        json!({"command": "create_key"}),
        json!({"command": "create_key", "user_id": "alice"}),
        json!({"command": "create_user", "role": ["miner"]}),
        json!({"command": "create_user", "roles": ["king"]}),
        json!({"command": "create_user", "roles": "miner"}),
        json!({"command": "set_quotas", "user_id": id, "quotas": {"global": -1}}),
        json!({"command": "set_quotas", "user_id": id, "quotas": {"global": 1.5}}),
        json!({"command": "put_chute"}),
        json!({"command": "put_chute", "chute": with("shared", json!([]))}),
        json!({"command": "put_chute", "chute": with("node_selector", json!("x".repeat(5000)))}),
        json!({"command": "put_chute", "chute": with("methods", json!([{"name": "train", "time_out": 3600}]))}),
        json!({"command": "disable_user", "user_id": id, "cursor": "yesterday"}),
        json!({"command": "cancel_job", "job_id": id, "reason": ""}),
        json!({"command": "cancel_job", "job_id": id, "why": "x"}),
        json!({"command": "list_keys", "user": id}),
        json!({"command": "list_jobs", "status": "lost"}),
    ] {
        told += &format!("{}\n", World::refused(command).await);
    }
    insta::assert_snapshot!(told, @r#"
    missing field `command`
    missing field `command`
    invalid type: null, expected internally tagged enum Command
    unknown variant `drop_tables`, expected one of `create_user`, `set_roles`, `disable_user`, `enable_user`, `set_busy_user`, `create_key`, `update_key`, `revoke_key`, `register_hotkey`, `revoke_hotkey`, `put_chute`, `set_quotas`, `set_running_limit`, `cancel_job`, `delete_job`, `list_users`, `list_keys`, `list_hotkeys`, `list_chutes`, `list_jobs`
    missing field `user_id`
    UUID parsing failed: invalid character: found `l` at 1
    unknown field `role`, expected `user_id` or `roles`
    unknown variant `king`, expected `miner`
    invalid type: string "miner", expected a sequence
    invalid value: integer `-1`, expected u64
    invalid type: floating point `1.5`, expected u64
    missing field `chute`
    unknown field `shared` of a chute
    node_selector is not an object of at most 4096 bytes
    unknown field `time_out`, expected one of `name`, `timeout`, `retry`, `retention_days`, `retry_errors`, `ports`, `upload`
    "yesterday" is no cursor of this list
    reason is not a text of 1 to 1000 characters
    unknown field `why`, expected `job_id` or `reason`
    unknown field `user`, expected one of `user_id`, `limit`, `cursor`
    unknown variant `lost`, expected one of `pending`, `running`, `complete_pending_uploads`, `complete`, `partial_failure`, `error`, `cancelled`, `timeout`
    "#);
}

#[tokio::test]
async fn administration_has_no_route() {
    let world = World::new().await;
    assert!(world.user.post("/admin", json!({"command": "create_user"})).await.has_no_route());
}
