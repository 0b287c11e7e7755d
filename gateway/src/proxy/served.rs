//! Answers that come from no app: redirects of the policy, files of a folder.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use pingora_error::Result;
use pingora_proxy::Session;

use super::front::files::{self, CHUNK, Folder, Found, Head};
use super::front::{Answers, Front, redirect};
use super::head::Target;
use super::pep::Ctx;
use super::{answer, parts};
use crate::gateway::Gateway;
use crate::pages::Problem;

/// Answers a request of an area that has no upstreams; `false` where it has.
///
/// # Errors
/// When the client is gone.
pub(crate) async fn answer(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
) -> Result<bool> {
    let (Some(front), Some(target)) = (ctx.route.front.clone(), ctx.target.clone()) else {
        return Ok(false);
    };
    match &front.source {
        Answers::Pool(_) => Ok(false),
        Answers::Redirect(written) => {
            let status = StatusCode::from_u16(written.status);
            let status = status.unwrap_or(StatusCode::PERMANENT_REDIRECT);
            let (path, query) = (target.path.forward(), target.query.as_deref());
            let to = redirect::to(written, front.depth, path, query, &target.authority());
            ctx.status(status.as_u16());
            answer::send(gw, session, ctx, answer::redirect(status, &to)).await?;
            Ok(true)
        }
        Answers::Files(folder) => {
            files(gw, session, ctx, &front, folder, &target).await?;
            Ok(true)
        }
    }
}

async fn files(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    front: &Front,
    folder: &Folder,
    target: &Target,
) -> Result<()> {
    if !matches!(ctx.method.as_str(), "GET" | "HEAD") {
        return problem(gw, session, ctx, Problem::MethodNotAllowed).await;
    }
    let (folder, path, depth) = (folder.clone(), target.path.as_str().to_owned(), front.depth);
    let found = tokio::task::spawn_blocking(move || folder.open(&path, depth)).await;
    match found {
        Ok(Found::File(file, name)) => {
            match files::head(&file, &name, &session.req_header().headers) {
                Ok(head) => send(gw, session, ctx, front, file, head).await,
                Err(_) => problem(gw, session, ctx, Problem::NotFound).await,
            }
        }
        Ok(Found::Folder) => {
            let query = target.query.as_deref().map(|q| format!("?{q}"));
            let query = query.unwrap_or_default();
            let to = format!(
                "https://{}{}/{query}",
                target.authority(),
                target.path.forward()
            );
            let status = StatusCode::PERMANENT_REDIRECT;
            ctx.status(status.as_u16());
            answer::send(gw, session, ctx, answer::redirect(status, &to)).await
        }
        Ok(Found::Nothing) | Err(_) => problem(gw, session, ctx, Problem::NotFound).await,
    }
}

async fn problem(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    what: Problem,
) -> Result<()> {
    ctx.status(what.status().as_u16());
    answer::problem(gw, session, ctx, what, None).await
}

async fn send(
    gw: &Arc<Gateway>,
    session: &mut Session,
    ctx: &mut Ctx,
    front: &Front,
    file: std::fs::File,
    found: Head,
) -> Result<()> {
    let Head {
        mut head,
        from,
        length,
    } = found;
    parts::of_answer(&mut head, |parts| {
        front.fields.change(parts);
        answer::to_others(session, &mut parts.headers, ctx);
        answer::finish(gw, &mut parts.headers, ctx)
    })?;
    let mut compressor = match &front.compress {
        Some(compress) => compress.start(session.req_header(), &mut head)?,
        None => None,
    };
    ctx.status(head.status.as_u16());
    let empty = length == 0 || ctx.method == "HEAD";
    answer::unchunk(session, &mut head);
    session.write_response_header(Box::new(head), empty).await?;
    if empty {
        return Ok(());
    }
    let mut left = length;
    let mut source = Some((file, from));
    while left > 0 {
        let Some((file, at)) = source.take() else {
            break;
        };
        let part = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = tokio::task::spawn_blocking(move || chunk(file, at, part)).await;
        let Ok(Ok((file, bytes))) = read else {
            // the length is promised: only an end of the connection tells the truth
            return Err(super::pep::internal("a file became shorter"));
        };
        let taken = u64::try_from(bytes.len()).unwrap_or(left);
        left = left.saturating_sub(taken);
        source = Some((file, at.saturating_add(taken)));
        let mut body = Some(bytes);
        if let Some(compressor) = &mut compressor {
            compressor.part(&mut body, left == 0);
        }
        ctx.sent(body.as_ref().map_or(0, Bytes::len));
        session.write_response_body(body, left == 0).await?;
    }
    Ok(())
}

fn chunk(
    mut file: std::fs::File,
    at: u64,
    length: usize,
) -> std::io::Result<(std::fs::File, Bytes)> {
    file.seek(SeekFrom::Start(at))?;
    let mut bytes = vec![0; length];
    let read = file.read(&mut bytes)?;
    if read == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    bytes.truncate(read);
    Ok((file, Bytes::from(bytes)))
}
