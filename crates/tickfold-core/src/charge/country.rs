//! The country of a phone number, from its calling code: what a price depends on.
//!
//! A table of calling codes as the ITU assigns them (E.164), with the shared ones split where their
//! next digits tell the country. A number may have been carried to another country's network, and
//! Meta may sort a few territories differently: the code is the best that a number alone can say.

/// The ISO 3166 code of a number's country; `XK` is Kosovo. `None` for what is no phone number,
/// such as a business-scoped user id or a group, and for codes that belong to no country.
pub fn country_of(recipient: &str) -> Option<&'static str> {
    let digits = recipient.strip_prefix('+').unwrap_or(recipient);
    let is_number = (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number {
        return None;
    }
    // The codes that begin as the number does: fewer with each digit, and one that ends is the first.
    let (mut fitting, mut found) = (COUNTRIES, None);
    for (at, digit) in digits.bytes().take(PREFIX_DIGITS_MAX).enumerate() {
        let digit_of = |code: &str| code.as_bytes().get(at).copied();
        let from = fitting.partition_point(|(code, _)| digit_of(code) < Some(digit));
        let until = fitting.partition_point(|(code, _)| digit_of(code) <= Some(digit));
        fitting = fitting.get(from..until).unwrap_or_default();
        match fitting.first() {
            Some((code, country)) if code.len() == at + 1 => found = Some(*country),
            Some(_) => {}
            None => break,
        }
    }
    found
}

/// Digits of the longest prefix in the table.
const PREFIX_DIGITS_MAX: usize = 6;

/// Prefix and country, in order of prefix; the longest that fits counts.
#[rustfmt::skip]
const COUNTRIES: &[(&str, &str)] = &[
    ("1", "US"),
    ("1204", "CA"), ("1226", "CA"), ("1236", "CA"), ("1242", "BS"), ("1246", "BB"), ("1249", "CA"),
    ("1250", "CA"), ("1257", "CA"), ("1263", "CA"), ("1264", "AI"), ("1268", "AG"), ("1284", "VG"),
    ("1289", "CA"), ("1306", "CA"), ("1340", "VI"), ("1343", "CA"), ("1345", "KY"), ("1354", "CA"),
    ("1365", "CA"), ("1367", "CA"), ("1368", "CA"), ("1382", "CA"), ("1387", "CA"), ("1403", "CA"),
    ("1416", "CA"), ("1418", "CA"), ("1428", "CA"), ("1431", "CA"), ("1437", "CA"), ("1438", "CA"),
    ("1441", "BM"), ("1450", "CA"), ("1460", "CA"), ("1468", "CA"), ("1473", "GD"), ("1474", "CA"),
    ("1506", "CA"), ("1514", "CA"), ("1519", "CA"), ("1548", "CA"), ("1579", "CA"), ("1581", "CA"),
    ("1584", "CA"), ("1587", "CA"), ("1604", "CA"), ("1613", "CA"), ("1639", "CA"), ("1647", "CA"),
    ("1649", "TC"), ("1658", "JM"), ("1664", "MS"), ("1670", "MP"), ("1671", "GU"), ("1672", "CA"),
    ("1683", "CA"), ("1684", "AS"), ("1705", "CA"), ("1709", "CA"), ("1721", "SX"), ("1742", "CA"),
    ("1753", "CA"), ("1758", "LC"), ("1767", "DM"), ("1778", "CA"), ("1780", "CA"), ("1782", "CA"),
    ("1784", "VC"), ("1787", "PR"), ("1807", "CA"), ("1809", "DO"), ("1819", "CA"), ("1825", "CA"),
    ("1829", "DO"), ("1849", "DO"), ("1867", "CA"), ("1868", "TT"), ("1869", "KN"), ("1873", "CA"),
    ("1876", "JM"), ("1879", "CA"), ("1902", "CA"), ("1905", "CA"), ("1939", "PR"), ("1942", "CA"),
    ("20", "EG"), ("211", "SS"), ("212", "MA"), ("213", "DZ"), ("216", "TN"), ("218", "LY"),
    ("220", "GM"), ("221", "SN"), ("222", "MR"), ("223", "ML"), ("224", "GN"), ("225", "CI"),
    ("226", "BF"), ("227", "NE"), ("228", "TG"), ("229", "BJ"), ("230", "MU"), ("231", "LR"),
    ("232", "SL"), ("233", "GH"), ("234", "NG"), ("235", "TD"), ("236", "CF"), ("237", "CM"),
    ("238", "CV"), ("239", "ST"), ("240", "GQ"), ("241", "GA"), ("242", "CG"), ("243", "CD"),
    ("244", "AO"), ("245", "GW"), ("246", "IO"), ("247", "AC"), ("248", "SC"), ("249", "SD"),
    ("250", "RW"), ("251", "ET"), ("252", "SO"), ("253", "DJ"), ("254", "KE"), ("255", "TZ"),
    ("256", "UG"), ("257", "BI"), ("258", "MZ"), ("260", "ZM"), ("261", "MG"), ("262", "RE"),
    ("262269", "YT"), ("262639", "YT"), ("263", "ZW"), ("264", "NA"), ("265", "MW"), ("266", "LS"),
    ("267", "BW"), ("268", "SZ"), ("269", "KM"), ("27", "ZA"), ("290", "SH"), ("291", "ER"),
    ("297", "AW"), ("298", "FO"), ("299", "GL"), ("30", "GR"), ("31", "NL"), ("32", "BE"),
    ("33", "FR"), ("34", "ES"), ("350", "GI"), ("351", "PT"), ("352", "LU"), ("353", "IE"),
    ("354", "IS"), ("355", "AL"), ("356", "MT"), ("357", "CY"), ("358", "FI"), ("35818", "AX"),
    ("359", "BG"), ("36", "HU"), ("370", "LT"), ("371", "LV"), ("372", "EE"), ("373", "MD"),
    ("374", "AM"), ("375", "BY"), ("376", "AD"), ("377", "MC"), ("378", "SM"), ("380", "UA"),
    ("381", "RS"), ("382", "ME"), ("383", "XK"), ("385", "HR"), ("386", "SI"), ("387", "BA"),
    ("389", "MK"), ("39", "IT"), ("40", "RO"), ("41", "CH"), ("420", "CZ"), ("421", "SK"),
    ("423", "LI"), ("43", "AT"), ("44", "GB"), ("441481", "GG"), ("441534", "JE"), ("441624", "IM"),
    ("45", "DK"), ("46", "SE"), ("47", "NO"), ("48", "PL"), ("49", "DE"), ("500", "FK"),
    ("501", "BZ"), ("502", "GT"), ("503", "SV"), ("504", "HN"), ("505", "NI"), ("506", "CR"),
    ("507", "PA"), ("508", "PM"), ("509", "HT"), ("51", "PE"), ("52", "MX"), ("53", "CU"),
    ("54", "AR"), ("55", "BR"), ("56", "CL"), ("57", "CO"), ("58", "VE"), ("590", "GP"),
    ("591", "BO"), ("592", "GY"), ("593", "EC"), ("594", "GF"), ("595", "PY"), ("596", "MQ"),
    ("597", "SR"), ("598", "UY"), ("599", "BQ"), ("5999", "CW"), ("60", "MY"), ("61", "AU"),
    ("62", "ID"), ("63", "PH"), ("64", "NZ"), ("65", "SG"), ("66", "TH"), ("670", "TL"),
    ("672", "AU"), ("6723", "NF"), ("673", "BN"), ("674", "NR"), ("675", "PG"), ("676", "TO"),
    ("677", "SB"), ("678", "VU"), ("679", "FJ"), ("680", "PW"), ("681", "WF"), ("682", "CK"),
    ("683", "NU"), ("685", "WS"), ("686", "KI"), ("687", "NC"), ("688", "TV"), ("689", "PF"),
    ("690", "TK"), ("691", "FM"), ("692", "MH"), ("7", "RU"), ("76", "KZ"), ("77", "KZ"),
    ("81", "JP"), ("82", "KR"), ("84", "VN"), ("850", "KP"), ("852", "HK"), ("853", "MO"),
    ("855", "KH"), ("856", "LA"), ("86", "CN"), ("880", "BD"), ("886", "TW"), ("90", "TR"),
    ("91", "IN"), ("92", "PK"), ("93", "AF"), ("94", "LK"), ("95", "MM"), ("960", "MV"),
    ("961", "LB"), ("962", "JO"), ("963", "SY"), ("964", "IQ"), ("965", "KW"), ("966", "SA"),
    ("967", "YE"), ("968", "OM"), ("970", "PS"), ("971", "AE"), ("972", "IL"), ("973", "BH"),
    ("974", "QA"), ("975", "BT"), ("976", "MN"), ("977", "NP"), ("98", "IR"), ("992", "TJ"),
    ("993", "TM"), ("994", "AZ"), ("995", "GE"), ("996", "KG"), ("998", "UZ"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_within_its_bound() {
        assert!(COUNTRIES.is_sorted_by(|(a, _), (b, _)| a < b));
        let longest = COUNTRIES.iter().map(|(code, _)| code.len()).max();
        assert_eq!(longest, Some(PREFIX_DIGITS_MAX));
        assert!(COUNTRIES.iter().all(|(code, country)| {
            code.bytes().all(|b| b.is_ascii_digit())
                && country.len() == 2
                && country.bytes().all(|b| b.is_ascii_uppercase())
        }));
    }

    #[test]
    fn shared_calling_codes_are_split() {
        for (number, country) in [
            ("447700900123", "GB"),
            ("+447700900123", "GB"),
            ("441481960194", "GG"),
            ("12025550123", "US"),
            ("14165550123", "CA"),
            ("18765550123", "JM"),
            ("18095550123", "DO"),
            ("79161234567", "RU"),
            ("77011234567", "KZ"),
            ("262692123456", "RE"),
            ("262639123456", "YT"),
            ("59995123456", "CW"),
            ("5991234567", "BQ"),
            ("5511987654321", "BR"),
            ("358401234567", "FI"),
        ] {
            assert_eq!(country_of(number), Some(country), "{number}");
        }
    }

    #[test]
    fn what_is_no_number_of_a_country_has_none() {
        for text in [
            "",
            "GB.48AbC",
            "GB.ENT.48",
            "123456",
            "1234567890123456",
            "99912345678",
            "80012345678",
            "4477x0900123",
            "120363000000000000@g.us",
        ] {
            assert_eq!(country_of(text), None, "{text}");
        }
    }
}
