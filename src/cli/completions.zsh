
# Names of runs, loads and targets, which the program is asked for.
_stoker_names() {
    local which=""
    case "${words[CURRENT-1]}" in
        --load) which=loads ;;
        --target) which=targets ;;
        resume | report | watch | unload | verify) which=runs ;;
    esac
    if [[ -n "$which" && "${words[CURRENT]}" != -* ]]; then
        local -a found
        found=("${(@f)$("${words[1]}" generate names "$which" "${(@)words[2,-1]}" 2>/dev/null)}")
        # Without a match, or with files beside the names of runs, the rest is asked for too.
        [[ -n "${found[*]}" ]] && compadd -a found
        [[ "$which" != runs ]] && return 0
    fi
    _stoker "$@"
}

# As a file of a folder in `fpath` it is run when a line is completed for the first time; otherwise it is sourced.
if [ "$funcstack[1]" = "_stoker" ]; then
    compdef _stoker_names stoker
    _stoker_names "$@"
else
    compdef _stoker_names stoker
fi
