
# Names of runs, loads and targets, which the program is asked for.
_stoker_names() {
    _stoker "$@"
    local current="${COMP_WORDS[COMP_CWORD]}" which=""
    case "${COMP_WORDS[COMP_CWORD-1]}" in
        --load) which=loads ;;
        --target) which=targets ;;
        resume | report | watch | unload | verify) which=runs ;;
    esac
    if [[ -z "$which" || "$current" == -* ]]; then
        return 0
    fi
    local IFS=$'\n' found
    found=($(compgen -W "$("$1" generate names "$which" "${COMP_WORDS[@]:1}" 2>/dev/null)" -- "$current"))
    if [[ ${#found[@]} -gt 0 ]]; then
        COMPREPLY=("${found[@]}")
    fi
}
complete -F _stoker_names -o bashdefault -o default stoker
