# Made from the table of options of vault-exec.
_vault_exec() {
    local current=$2 valued=' @VALUED@ ' switches=' @SWITCHES@ ' i=1 word option=
    COMPREPLY=()
    # bash divides words at `=`, so `--addr=x` is three of them.
    while ((i < COMP_CWORD)); do
        word=${COMP_WORDS[i]}
        if [[ $word == -- ]]; then
            ((i += 1))
            break
        elif [[ $valued == *" $word "* ]]; then
            [[ ${COMP_WORDS[i + 1]-} == '=' ]] && ((i += 1))
            option=$word
            ((i += 2))
        elif [[ $switches == *" $word "* ]]; then
            ((i += 1))
            [[ ${COMP_WORDS[i]-} == '=' ]] && ((i += 2))
        elif [[ $word == -* ]]; then
            ((i += 1))
        else
            break
        fi
    done
    if ((i > COMP_CWORD)); then
        # The value of an option.
        [[ $current == '=' ]] && current=
        case $option in
            @CASES@
        esac
    elif ((i == COMP_CWORD)) && [[ $current == -* && ${COMP_WORDS[i - 1]} != -- ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$valued $switches" -- "$current")
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$i"
    elif ((i == COMP_CWORD)); then
        mapfile -t COMPREPLY < <(compgen -c -- "$current")
    else
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
    fi
}
complete -o filenames -F _vault_exec vault-exec
