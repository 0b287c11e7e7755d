//! A form that was sent when the session had ended: what it would send where, and a button.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use zeroize::Zeroizing;

use super::answer::Policy;
use super::ctx::{Ctx, see_other};
use super::desk::proofs::KeptForm;
use super::form;
use super::lang::Lang;
use super::views::{Frame, Link, Message};

/// Characters of a value that are shown.
const SHOWN: usize = 200;

#[derive(Template)]
#[template(path = "again.html")]
struct Again<'a> {
    f: Frame<'a>,
    w: &'static Words,
    /// Host, path and query.
    target: String,
    form: KeptForm,
}

impl Again<'_> {
    /// A value as the page shows it; nothing of what looks like a secret.
    fn shown(&self, name: &str, value: &str) -> String {
        let name = name.to_ascii_lowercase();
        let secret = ["pass", "pwd", "secret", "token", "csrf", "code", "pin"];
        if secret.iter().any(|word| name.contains(word)) {
            return self.w.hidden.to_owned();
        }
        let mut text: String = value.chars().take(SHOWN).collect();
        if text.len() < value.len() {
            text.push('…');
        }
        text
    }
}

/// `GET /.postern/again` on an application's host: offers the form once.
pub(crate) async fn page(ctx: Ctx, query: axum::extract::RawQuery) -> Response {
    if ctx.person().is_none() {
        return see_other("/").into();
    }
    let id = query.0.as_deref().and_then(|q| {
        let mut pairs = q.split('&');
        pairs.find_map(|pair| pair.strip_prefix("form="))
    });
    let id = id.and_then(|id| form::decode(id.as_bytes()));
    let found = id.and_then(|id: Zeroizing<String>| ctx.desk.kept_form(&id));
    let words = of(ctx.lang);
    let Some(form) = found else {
        let view = Message {
            f: ctx.frame("/", false),
            heading: words.gone_title,
            text: words.gone_text,
            link: Some(Link {
                href: "/",
                text: words.leave,
            }),
        };
        return ctx.page(StatusCode::NOT_FOUND, &view, Policy::Page).into();
    };
    let view = Again {
        f: ctx.frame("/", false),
        w: words,
        target: format!("{}{}", ctx.visit().authority, form.to),
        form,
    };
    ctx.page(StatusCode::OK, &view, Policy::Page).into()
}

struct Words {
    title: &'static str,
    lead: &'static str,
    to: &'static str,
    field: &'static str,
    value: &'static str,
    hidden: &'static str,
    button: &'static str,
    leave: &'static str,
    gone_title: &'static str,
    gone_text: &'static str,
}

fn of(lang: Lang) -> &'static Words {
    match lang {
        Lang::En => &EN,
        Lang::Fr => &FR,
        Lang::De => &DE,
    }
}

const EN: Words = Words {
    title: "Send it again?",
    lead: "Your session had ended when you sent this form, so it has not arrived. Look at it and send it, or leave it.",
    to: "It goes to",
    field: "Field",
    value: "Value",
    hidden: "not shown",
    button: "Send",
    leave: "Do not send",
    gone_title: "Nothing to send",
    gone_text: "This form is not kept any more, or is not yours. Go back and fill it in again.",
};

const FR: Words = Words {
    title: "L'envoyer à nouveau ?",
    lead: "Votre session était terminée quand vous avez envoyé ce formulaire : il n'est pas arrivé. Vérifiez-le et envoyez-le, ou laissez-le.",
    to: "Destination",
    field: "Champ",
    value: "Valeur",
    hidden: "non affichée",
    button: "Envoyer",
    leave: "Ne pas envoyer",
    gone_title: "Rien à envoyer",
    gone_text: "Ce formulaire n'est plus conservé, ou n'est pas le vôtre. Revenez en arrière et remplissez-le à nouveau.",
};

const DE: Words = Words {
    title: "Noch einmal senden?",
    lead: "Ihre Sitzung war zu Ende, als Sie dieses Formular sendeten; es ist nicht angekommen. Sehen Sie es an und senden Sie es, oder lassen Sie es.",
    to: "Es geht an",
    field: "Feld",
    value: "Wert",
    hidden: "nicht gezeigt",
    button: "Senden",
    leave: "Nicht senden",
    gone_title: "Nichts zu senden",
    gone_text: "Dieses Formular ist nicht mehr da oder nicht Ihres. Gehen Sie zurück und füllen Sie es neu aus.",
};
