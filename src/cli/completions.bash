
# Names of runs, loads and targets, which the program is asked for. Where a file is meant, none of the options is offered that nobody has
# begun to type.
_stoker_names() {
    _stoker "$@"
    local current="${COMP_WORDS[COMP_CWORD]}" which="" IFS=$'\n' found words word
    case "${COMP_WORDS[COMP_CWORD-1]}" in
        --load) which=loads ;;
        --target) which=targets ;;
        resume | report | watch | unload | verify) which=runs ;;
    esac
    if [[ "$current" == -* ]]; then
        return 0
    fi
    if [[ -n "$which" ]]; then
        # Words stand here as they were typed: with their quotes, their backslashes and the home directory's sign.
        words=()
        for word in "${COMP_WORDS[@]:1}"; do
            word="${word//[\\\"\']/}"
            words+=("${word/#\~\//$HOME/}")
        done
        found=($(compgen -W "$("$1" generate names "$which" "${words[@]}" 2>/dev/null)" -- "$current"))
        if [[ ${#found[@]} -gt 0 ]]; then
            COMPREPLY=($(printf '%q\n' "${found[@]}"))
        else
            COMPREPLY=()
            # A run may be named by its directory; a load or a target is no file.
            [[ "$which" == runs ]] || compopt +o default +o bashdefault 2>/dev/null
        fi
    elif [[ -z "$current" ]]; then
        found=()
        for word in "${COMPREPLY[@]}"; do
            [[ "$word" == -* || "$word" == "<"* ]] || found+=("$word")
        done
        case "${COMP_WORDS[1]}" in
            init | check | plan | load | reset | create) COMPREPLY=("${found[@]}") ;;
            *) [[ ${#found[@]} -eq 0 ]] || COMPREPLY=("${found[@]}") ;;
        esac
    fi
}
complete -F _stoker_names -o bashdefault -o default stoker
