//! Published ports: `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, with ranges.

use core::net::IpAddr;

use crate::model::settings::Port;

/// A range may publish so many ports; Docker starts a proxy process for each.
const MAX_RANGE: usize = 4096;

/// All ports of one entry of Compose's short syntax.
pub fn parse(text: &str) -> Result<Vec<Port>, String> {
    let (rest, protocol) = protocol(text)?;
    let (address, rest) = address(rest, text)?;
    let (published, target) = match rest.rsplit_once(':') {
        Some((published, target)) => (Some(published).filter(|published| !published.is_empty()), target),
        None => (None, rest),
    };
    combine(published, target, address, protocol)
}

/// The ports of a published range over those of a target range.
pub fn combine(published: Option<&str>, target: &str, host_ip: &str, protocol: &str) -> Result<Vec<Port>, String> {
    let targets = range(target)?;
    let port = |target: u16, published: Option<u16>| Port {
        target,
        protocol: protocol.to_owned(),
        published,
        host_ip: host_ip.to_owned(),
    };
    let Some(published) = published else { return Ok(targets.map(|target| port(target, None)).collect()) };
    let numbers = range(published)?;
    if numbers.len() != targets.len() {
        return Err(format!(
            "`{published}` are {} ports on the host for {} in the container (`{target}`): both ranges must be of one length",
            numbers.len(),
            targets.len()
        ));
    }
    Ok(targets.zip(numbers).map(|(target, published)| port(target, Some(published))).collect())
}

/// `8080` or `8000-8010`.
pub fn range(text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let number = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("`{text}` is no port from 1 to 65535")),
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    if last < first {
        return Err(format!("the range `{text}` ends before it begins"));
    }
    if usize::from(last - first) >= MAX_RANGE {
        return Err(format!("the range `{text}` has more than {MAX_RANGE} ports"));
    }
    Ok(first..=last)
}

/// `8080`, `8080/udp` or `3000-3005` as `8080/tcp`.
pub fn parse_exposed(text: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = protocol(text)?;
    Ok(range(ports)?.map(|port| format!("{port}/{protocol}")).collect())
}

fn protocol(text: &str) -> Result<(&str, &str), String> {
    match text.rsplit_once('/') {
        None => Ok((text, "tcp")),
        Some((rest, protocol @ ("tcp" | "udp" | "sctp"))) => Ok((rest, protocol)),
        Some((_, other)) => Err(format!("`{other}` in `{text}` is none of the protocols `tcp`, `udp`, `sctp`")),
    }
}

/// Cuts off a leading address; one of IPv6 is in brackets.
fn address<'a>(rest: &'a str, text: &str) -> Result<(&'a str, &'a str), String> {
    let fail = |address: &str| format!("`{address}` in `{text}` is no address");
    if let Some(bracketed) = rest.strip_prefix('[') {
        let (address, rest) = bracketed.split_once("]:").ok_or_else(|| fail(bracketed))?;
        address.parse::<IpAddr>().map_err(|_| fail(address))?;
        return Ok((address, rest));
    }
    let mut colons = rest.match_indices(':').map(|(at, _)| at);
    match (colons.next(), colons.next(), colons.next()) {
        (Some(first), Some(_), None) => {
            let address = &rest[..first];
            address.parse::<IpAddr>().map_err(|_| fail(address))?;
            Ok((address, &rest[first + 1..]))
        }
        (_, _, Some(_)) => Err(format!("`{text}` has too many colons; put an IPv6 address in brackets")),
        _ => Ok(("", rest)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn show(text: &str) -> Vec<String> {
        match parse(text) {
            Ok(ports) => ports
                .into_iter()
                .map(|p| format!("{} {:?} {}/{}", p.host_ip, p.published, p.target, p.protocol))
                .collect(),
            Err(why) => vec![why],
        }
    }

    #[test]
    fn the_short_syntax_in_all_its_forms() {
        assert_eq!(show("80"), [" None 80/tcp"]);
        assert_eq!(show("8080:80"), [" Some(8080) 80/tcp"]);
        assert_eq!(show("127.0.0.1:8080:80/udp"), ["127.0.0.1 Some(8080) 80/udp"]);
        assert_eq!(show("127.0.0.1::80"), ["127.0.0.1 None 80/tcp"]);
        assert_eq!(show("[::1]:8080:80"), ["::1 Some(8080) 80/tcp"]);
        assert_eq!(show("9000-9001:80-81"), [" Some(9000) 80/tcp", " Some(9001) 81/tcp"]);
        assert_eq!(show("3000-3001"), [" None 3000/tcp", " None 3001/tcp"]);
    }

    #[test]
    fn what_is_wrong_with_a_port_is_said() {
        assert_eq!(show("0:80"), ["`0` is no port from 1 to 65535"]);
        assert_eq!(show("80/icmp"), ["`icmp` in `80/icmp` is none of the protocols `tcp`, `udp`, `sctp`"]);
        assert_eq!(show("x:1:2"), ["`x` in `x:1:2` is no address"]);
        assert_eq!(show("5-4"), ["the range `5-4` ends before it begins"]);
        assert!(show("80-81:80")[0].contains("of one length"));
        assert!(show("1-65535")[0].contains("more than"));
        assert_eq!(parse_exposed("53/udp").unwrap(), ["53/udp"]);
    }
}
