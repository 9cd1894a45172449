//! The console in a real browser, against a node that knows its callers and was fed by `tickfold load`: from a
//! search to the raw body, by mouse and by keyboard alone, wide and narrow, light and dark; what strangers
//! write does nothing.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::browser::Browser;
use crate::callers::{create, guarded};
use crate::support::{
    NUMBER, Node, PARTY, SECRET, WABA, base, eventually, messages_of, run, status, status_body,
    tickfold, up_args, with_secrets,
};

const TOLD: &str = "wamid.HBgMNDQ3NzAwOTAwMTIzFQIAERgSQ09OU09MRS1PRi1BLVRFU1QA";
const FAILED: &str = "wamid.HBgMNDQ3NzAwOTAwMTIzFQIAERgSRkFJTEVELUNPTlNPTEUtVAA=";
const HOSTILE: &str = "wamid.HOSTILE";
const MARKUP: &str = "<script>window.hostile = 1</script><img src=x onerror='window.hostile = 1'>";

/// What Meta tells of a message, out of order and twice.
fn story(node: &Node) {
    let priced = |wamid: &str, word: &str, after_s: i64| {
        let price = r#","pricing":{"billable":true,"pricing_model":"PMP","category":"authentication","type":"regular"}}"#;
        let status = status(wamid, word, after_s);
        let status = format!("{}{price}", status.strip_suffix('}').unwrap());
        messages_of(WABA, &format!(r#""statuses":[{status}]"#))
    };
    node.post(status_body(TOLD, "sent", 3_500));
    node.post(priced(TOLD, "read", 3_512));
    node.post(priced(TOLD, "delivered", 3_502));
    node.post(priced(TOLD, "delivered", 3_502));
    node.post(status_body(FAILED, "sent", 3_510));
    node.post(status_body(FAILED, "failed", 3_511));
    let time = base() + 3_520;
    node.post(messages_of(
        WABA,
        &format!(
            r#""contacts":[{{"wa_id":"{PARTY}","profile":{{"name":"{MARKUP}"}}}}],
            "messages":[{{"id":"{HOSTILE}","from":"{PARTY}","timestamp":"{time}","type":"text",
            "text":{{"body":"{MARKUP}"}}}}]"#
        ),
    ));
    let template = |id: u32, name: &str, event: &str, reason: &str| {
        format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"{WABA}","time":{time},"changes":[{{"field":
            "message_template_status_update","value":{{"event":"{event}","message_template_id":{id},
            "message_template_name":"{name}","message_template_language":"en_US","reason":"{reason}"}}}}]}}]}}"#
        )
    };
    node.post(template(600_100, "login_code", "APPROVED", "NONE"));
    node.post(template(600_101, "spring_offer", "PAUSED", "LOW_QUALITY"));
    // What cannot be read.
    node.post(messages_of(WABA, r#""statuses":[{"status":"sent"}]"#));
}

fn load(node: &Node) {
    let mut command: Command = tickfold();
    command.args(["load", "--rate", "40", "--duration", "2s", "--seed", "7"]);
    command.args(["--url", &format!("http://{}/webhook/main", node.http)]);
    command.env("TICKFOLD_APP_SECRET", SECRET);
    let ended = run(command, b"");
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// A node that knows two callers, and their tokens.
fn node(dir: &Path) -> (Node, String, String) {
    let all = ["--scope", "query,pii.read,admin", "--all-wabas"];
    let operator = create(dir, "operator", &all);
    let reader = create(dir, "reader", &["--scope", "query", "--waba", WABA]);
    let node = Node::spawn(dir, guarded(dir)).unwrap_or_else(|ended| panic!("{ended:?}"));
    (node, operator, reader)
}

fn search(browser: &mut Browser, wanted: &str) {
    browser.click("#wanted");
    browser.eval("document.querySelector('#wanted').select()");
    browser.insert(wanted);
    browser.click("#search button");
}

fn give(browser: &mut Browser, token: &str) {
    browser.click("#token");
    browser.insert(token);
    browser.click("#caller button");
    browser.until_text("#notice", "in use");
    // It is in no place where it would outlast the page.
    let kept = browser
        .eval("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])");
    assert!(!kept.to_string().contains(token));
    assert_eq!(browser.eval("document.querySelector('#token').value"), "");
}

#[test]
fn the_console_leads_from_a_search_to_the_raw_body() {
    let dir = TempDir::new().unwrap();
    let (node, operator, reader) = node(dir.path());
    load(&node);
    story(&node);
    let mut browser = Browser::start();
    browser.window(1280, 1010, "light");
    browser.open(&format!("http://{}/", node.admin));

    // Nobody yet. Then somebody who may not see persons.
    browser.until_text("#partitions-body", "asks for a token");
    search(&mut browser, TOLD);
    browser.until_text("#message-body", "asks for a token");
    give(&mut browser, &reader);
    browser.until_text("#partitions-body", "no scope admin");
    search(&mut browser, TOLD);
    browser.until("document.querySelectorAll('svg .record').length === 4");
    assert_eq!(browser.text(".heading .badge"), "read");
    let page = browser.text("body");
    assert!(!page.contains(PARTY) && !page.contains(TOLD), "personal data in {page}");
    browser.click("#personal");
    browser.until_text("#message-body", "no scope pii.read");
    browser.click("#personal");

    // Somebody who may.
    give(&mut browser, &operator);
    browser.until("document.querySelectorAll('#partitions-body tbody tr').length === 8");
    browser.until("document.querySelectorAll('svg .record').length === 4");
    let kinds =
        "[...document.querySelectorAll('svg .record')].map((one) => one.classList[1]).join()";
    assert_eq!(browser.eval(kinds), "new,new,late,duplicate");
    browser.until_text("#standing-body", "spring_offer");
    browser.until_text("#letters-body", "messages");
    // Each side: what Meta says, once however often it came; and what came, with what it cost.
    assert_eq!(browser.texts("svg .lane"), ["Meta says", "webhooks, as they came"]);
    assert_eq!(browser.texts("svg .word[text-anchor=end]"), ["sent", "delivered", "read"]);
    // Its delivery was earlier than the reading that came first, and so was the charge.
    let charges = ["charged: authentication", "charge corrected: authentication"];
    assert_eq!(browser.texts("svg .consequence.charge"), charges);
    // A login code that was read, and nobody wrote since.
    assert_eq!(browser.texts("svg .consequence.action"), ["offer_resend"]);
    let lines = browser.eval("document.querySelectorAll('svg .ways path').length");
    assert_eq!(lines, 4, "a line from what Meta says to each webhook");
    // How the number and the account of the message stand.
    let mut card = |title: &str| {
        let cards = browser.texts("#standing-body .card");
        let of = cards.iter().find(|card| card.starts_with(title));
        of.unwrap_or_else(|| panic!("no {title} in {cards:#?}")).to_owned()
    };
    let number = card("Number active");
    assert!(number.contains(NUMBER) && number.contains("Last active"), "{number}");
    let account = card("Account active");
    let charged = "authentication: 1 of 1";
    assert!(account.contains(WABA) && account.contains(charged), "{account}");
    browser.click("svg .record.late");
    browser.until_text("#detail h3", "delivered");
    browser.click("#show-raw");
    browser.until_text("#raw", "personal data");
    browser.click("#personal");
    browser.until("document.querySelector('#personal').getAttribute('aria-pressed') === 'true'");
    browser.until_text("#standing-body", "window");
    browser.until("document.querySelectorAll('svg .record').length === 4");
    browser.click("svg .record.late");
    browser.click("#show-raw");
    browser.until_text("#body", TOLD);
    assert!(browser.text("#body").contains(PARTY));

    // What changes is told while one looks.
    node.post(status_body("wamid.LIVE.A", "sent", 3_530));
    browser.until_text("#live-list", "wamid.LIVE.A");
    browser.click("#personal");
    assert!(
        !browser.text("#live-list").contains("wamid.LIVE.A"),
        "what was told whole is hidden too"
    );
    browser.until("document.querySelectorAll('svg .record').length === 4");
    for n in 0..6 {
        node.post(status_body(
            &format!("wamid.HBgMNDQ3NzAwOTAwMTIzFQIAERgSTElWRQ{n}A="),
            "delivered",
            3_540 + n,
        ));
    }
    browser.until("document.querySelectorAll('#live-list li').length >= 6");
    browser.window(1280, 1290, "light");
    browser.eval("scrollTo(0, 0)");
    browser.picture("console.png");
    browser.click("svg .record.late");
    let light = browser.eval("getComputedStyle(document.body).backgroundColor");
    browser.window(1280, 1290, "dark");
    browser.until(&format!("getComputedStyle(document.body).backgroundColor !== {light}"));
    browser.picture("console-dark.png");

    // A narrow screen: nothing hangs out at the side, and the picture is there.
    browser.window(375, 812, "dark");
    browser.until("document.querySelector('svg').getBoundingClientRect().right <= 375");
    let wide = browser.eval("document.documentElement.scrollWidth");
    assert!(wide.as_u64().unwrap() <= 375, "{wide}");
    browser.eval("document.querySelector('#picture').scrollIntoView({ behavior: 'instant' })");
    browser.picture("console-narrow.png");
    search(&mut browser, FAILED);
    browser.until_text(".heading .badge", "failed");
    browser.until("document.querySelectorAll('svg .record').length === 2");
    assert_eq!(browser.texts("svg .lane"), ["Meta", "tickfold"]);
    assert_eq!(browser.texts("svg .consequence.action"), ["sms_fallback"]);
    assert!(
        browser.eval("forbidden.length") == 0 && browser.thrown.is_empty(),
        "{:?}",
        browser.thrown
    );

    // By the keyboard alone, on a page of its own.
    browser.window(1280, 900, "light");
    browser.open(&format!("http://{}/", node.admin));
    browser.eval("document.activeElement.blur()");
    browser.tab_to("#token");
    browser.insert(&operator);
    browser.key("Enter");
    browser.until_text("#notice", "in use");
    browser.tab_to("#personal");
    browser.key(" ");
    browser.key("/");
    assert_eq!(browser.eval("document.activeElement.id"), "wanted");
    assert_eq!(browser.eval("document.activeElement.value"), "");
    browser.insert(HOSTILE);
    browser.key("Enter");
    browser.until("document.querySelectorAll('svg .record').length === 1");
    browser.tab_to("svg .record");
    browser.key("Enter");
    browser.until_text("#detail h3", "text");
    browser.tab_to("#show-raw");
    browser.key("Enter");
    browser.until_text("#body", "window.hostile");

    // What a stranger wrote is text: in the body, and in the name of the conversation's page.
    assert!(browser.text("#body").contains("<script>"));
    let ours = browser.eval(
        "document.querySelectorAll('main script, main img, main a[href^=javascript]').length",
    );
    assert_eq!(ours, 0);
    search(&mut browser, &format!("{NUMBER} {PARTY}"));
    browser.until_text("#message-title", "Conversation");
    browser.until("document.querySelectorAll('#message-body .row').length >= 3");
    assert_eq!(browser.eval("typeof window.hostile"), "undefined");
    assert!(
        browser.eval("forbidden.length") == 0 && browser.thrown.is_empty(),
        "{:?}",
        browser.thrown
    );
    // And if it ever became markup, the policy would not let it run.
    browser.eval(&format!(
        "document.querySelector('main').insertAdjacentHTML('beforeend', {MARKUP:?})"
    ));
    browser.until("forbidden.includes('script-src-attr')");
    assert_eq!(browser.eval("typeof window.hostile"), "undefined");
    drop(browser);
    node.stop();
}

#[test]
fn the_console_and_the_mirror_are_for_whoever_may_over_a_channel_that_nobody_reads() {
    let dir = TempDir::new().unwrap();
    let (node, operator, reader) = node(dir.path());
    node.post(status_body(TOLD, "sent", 3_500));
    let get = |path: &str, token: &str| {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        crate::support::Http::new(&node.admin).send("GET", path, &headers, b"").unwrap()
    };
    let message = format!("/v1/messages/{TOLD}");
    eventually("the message is there", || (get(&message, &reader).status == 200).then_some(()));
    assert_eq!(get(&format!("{message}?view=MESSAGE_VIEW_FULL"), &reader).status, 403);
    assert_eq!(get("/v1/dead-letters", &reader).status, 403);
    assert_eq!(get("/v1/dead-letters", &operator).status, 200);
    assert_eq!(node.admin(&message).status, 401);
    // Probes, the page and the document need nobody.
    for path in ["/livez", "/readyz", "/metrics", "/", "/console/console.js", "/openapi.json"] {
        assert_eq!(node.admin(path).status, 200, "{path}");
    }
    let policy = node.admin("/").header("content-security-policy").unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    // An admin call leaves its line, by whichever way it came.
    let log = node.log();
    let audit: Vec<_> = log.lines().filter(|line| line.contains("tickfold::audit")).collect();
    let has = |caller: &str, code: &str| {
        let parts = [format!("caller=\"{caller}\""), "ListDeadLetters".to_owned(), code.to_owned()];
        let has = |line: &&&str| parts.iter().all(|part| line.contains(part.as_str()));
        assert_eq!(audit.iter().filter(has).count(), 1, "{caller} {code}: {audit:#?}");
    };
    has("operator", "code=\"OK\"");
    has("reader", "code=\"PERMISSION_DENIED\"");
    assert!(audit.iter().all(|line| line.contains("127.0.0.1:")), "{audit:#?}");
    node.stop();

    // On an address that others reach, in plain text: probes only, unless a proxy ends TLS.
    for (proxied, code) in [("false", 404), ("true", 401)] {
        let mut args = up_args(dir.path());
        let at = args.iter().position(|arg| arg == "--admin-addr").unwrap();
        args[at + 1] = "0.0.0.0:0".to_owned();
        let mut command = tickfold();
        with_secrets(command.args(args));
        command.env("TICKFOLD_AUTH_TOKENS_FILE", dir.path().join("tokens.toml"));
        command.env("TICKFOLD_AUTH_BEHIND_PROXY", proxied);
        let node = Node::spawn(dir.path(), command).unwrap_or_else(|ended| panic!("{ended:?}"));
        let reached = node.admin.replace("0.0.0.0", "127.0.0.1");
        let status = |path: &str| {
            crate::support::Http::new(&reached).send("GET", path, &[], b"").unwrap().status
        };
        assert_eq!(status("/livez"), 200);
        assert_eq!(status(&message), code, "behind a proxy: {proxied}");
        assert_eq!(status("/") == 200, proxied == "true");
        node.stop();
    }
}
