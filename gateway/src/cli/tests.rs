use clap::{CommandFactory, Parser};

use super::{Cli, usage_code};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_command_lines_are_usage_and_help_is_not() {
    for line in [
        "postern",
        "postern nonsense",
        "postern run --nonsense",
        "postern doctor",
        "postern demo --port-offset 13716",
        "postern demo --port-offset -1",
        "postern demo --tunnel-listen host",
        "postern user",
        "postern user add",
        "postern device add ann laptop",
        "postern device add ann laptop --public-key K --generate",
        "postern device mark d1 sometimes",
        "postern session revoke",
        "postern session revoke s1 --all",
        "postern policy explain",
        "postern policy who-can admin --now --ever",
        "postern policy who-can admin --now --in office",
        "postern policy what-can ann --in",
        "postern policy apply --confirm 2d",
        "postern policy apply --accept-wider many",
        "postern policy apply --from office",
        "postern policy apply --i-lose-access",
        "postern policy rollback 1 2",
        "postern init --dir x",
        "postern backup",
        "postern restore b --master-key k --passphrase-file p",
        "postern completions cobol",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(usage_code(&error), 64, "{line}");
    }
    for line in [
        "postern --help",
        "postern --version",
        "postern user add --help",
        "postern -h",
    ] {
        assert_eq!(usage_code(&parse(line).unwrap_err()), 0, "{line}");
    }
}

#[test]
fn flags_may_follow_arguments() {
    for line in [
        "postern run --config f",
        "postern --config f run",
        "postern --json status",
        "postern status --json",
        "postern demo --port-offset 13715 --json",
        "postern user add ann --group a --group b --json --config f",
        "postern device add ann laptop --generate --qr --config f",
        "postern device add ann laptop --public-key K",
        "postern device mark d1 managed",
        "postern session revoke --user ann",
        "postern session revoke s1 --json",
        "postern policy explain https://a.example/ --user ann --from office --mfa none --policy d --json",
        "postern policy check --policy d",
        "postern policy who-can admin --now --policy d --json",
        "postern policy what-can ann --in office@mon",
        "postern policy what-can ann --ever --json",
        "postern policy apply",
        "postern policy apply d --confirm 5m --accept-wider 2 --accept-loss 1 --dry-run --json",
        "postern policy apply --as ann --from office --device known --to-reach tcp://10.0.0.5:22 --i-lose-access",
        "postern policy rollback",
        "postern policy rollback 41 --accept-back 2 --dry-run --as ann",
        "postern policy confirm --json",
        "postern policy history --json --config f",
        "postern run --strict --config f",
        "postern user reset-totp ann",
        "postern init --dir d --domain gate.example.org --yes",
        "postern key list --json",
        "postern key rotate --config f",
        "postern completions bash",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
}

#[test]
fn every_command_has_help_and_examples() {
    for command in Cli::command().get_subcommands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        let examples = command.get_after_help().map(ToString::to_string);
        assert!(
            examples.is_some_and(|e| e.contains("postern ")),
            "{}",
            command.get_name()
        );
    }
}

#[test]
fn questions_to_the_policy_and_changes_of_it_have_help_and_examples() {
    let command = Cli::command();
    let policy = command.find_subcommand("policy").unwrap();
    for name in [
        "apply", "confirm", "rollback", "history", "check", "who-can", "what-can",
    ] {
        let command = policy.find_subcommand(name).unwrap();
        assert!(command.get_about().is_some(), "{name}");
        let examples = command.get_after_help().unwrap().to_string();
        assert!(
            examples.contains(&format!("postern policy {name}")),
            "{name}"
        );
    }
}
