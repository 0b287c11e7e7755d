//! Small questions to the configured resolvers: where a name points, what it says in TXT.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(5);

/// Asks where a name points, over all resolvers until one answers.
pub(crate) async fn aliases(servers: &[SocketAddr], name: &str) -> Result<Vec<String>, String> {
    let answer = ask(servers, name, RecordType::CNAME).await?;
    let data = answer.answers.iter().map(|record| &record.data);
    let names = data.filter_map(|data| {
        let RData::CNAME(to) = data else { return None };
        Some(certs::same_host_form(&to.0.to_string()))
    });
    Ok(names.collect())
}

/// Asks for the texts of a name.
pub(crate) async fn texts(servers: &[SocketAddr], name: &str) -> Result<Vec<String>, String> {
    let answer = ask(servers, name, RecordType::TXT).await?;
    let data = answer.answers.iter().map(|record| &record.data);
    let texts = data.filter_map(|data| {
        let RData::TXT(text) = data else { return None };
        Some(text.txt_data.concat())
    });
    Ok(texts
        .map(|text| String::from_utf8_lossy(&text).into_owned())
        .collect())
}

/// Asks for the addresses of a name.
pub(crate) async fn addresses(servers: &[SocketAddr], name: &str) -> Result<Vec<IpAddr>, String> {
    let mut found = Vec::new();
    for kind in [RecordType::A, RecordType::AAAA] {
        let answer = ask(servers, name, kind).await?;
        for record in &answer.answers {
            if let RData::A(a) = &record.data {
                found.push(IpAddr::V4(a.0));
            } else if let RData::AAAA(a) = &record.data {
                found.push(IpAddr::V6(a.0));
            }
        }
    }
    Ok(found)
}

async fn ask(servers: &[SocketAddr], name: &str, kind: RecordType) -> Result<Message, String> {
    let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.')))
        .map_err(|_| format!("{name} is no name"))?;
    let mut last = "no resolver is configured".to_owned();
    for server in servers {
        let exchange = exchange(*server, name.clone(), kind);
        match timeout(DEADLINE, exchange).await {
            Ok(Ok(answer)) => {
                let code = answer.metadata.response_code;
                if code == ResponseCode::NoError || code == ResponseCode::NXDomain {
                    return Ok(answer);
                }
                last = format!("the resolver {server} answers {code}");
            }
            Ok(Err(error)) => last = format!("the resolver {server}: {error}"),
            Err(_) => last = format!("the resolver {server} does not answer"),
        }
    }
    Err(last)
}

async fn exchange(server: SocketAddr, name: Name, kind: RecordType) -> Result<Message, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.metadata.id = u16::from_be_bytes(crate::ids::random::<2>());
    message.add_query(Query::query(name, kind));
    let bytes = message.to_vec().map_err(|e| text(&e))?;
    let mut stream = TcpStream::connect(server).await.map_err(|e| text(&e))?;
    let length = u16::try_from(bytes.len()).map_err(|e| text(&e))?;
    stream
        .write_all(&length.to_be_bytes())
        .await
        .map_err(|e| text(&e))?;
    stream.write_all(&bytes).await.map_err(|e| text(&e))?;
    let length = stream.read_u16().await.map_err(|e| text(&e))?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await.map_err(|e| text(&e))?;
    let answer = Message::from_vec(&answer).map_err(|e| text(&e))?;
    if answer.metadata.id != message.metadata.id {
        return Err("an answer to another question".to_owned());
    }
    Ok(answer)
}
