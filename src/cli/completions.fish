# Names of runs, loads and targets, which the program is asked for.
function __fish_stoker_names
    set -l words (commandline -opc)
    $words[1] generate names $argv[1] $words[2..] 2>/dev/null
end
complete -c stoker -n "__fish_stoker_using_subcommand resume report watch unload verify" -k -a "(__fish_stoker_names runs)"
complete -c stoker -n "__fish_stoker_using_subcommand load plan check" -l load -x -a "(__fish_stoker_names loads)"
complete -c stoker -n "__fish_stoker_using_subcommand load plan check get create" -l target -x -a "(__fish_stoker_names targets)"
complete -c stoker -n "__fish_stoker_using_subcommand generate; and __fish_seen_subcommand_from completions" -f -a "bash elvish fish powershell zsh"

