package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/license"
)

// completeCommand is what the scripts of completion call: the name of the shell, then
// the words of the command line up to the one that is completed. It is no command for
// people, so it stands in no tree.
const completeCommand = "__complete"

// shellScripts ask licensectl itself for what may follow, so they are right for
// whichever build is called.
var shellScripts = map[string]string{
	"bash": `# bash completion for licensectl
_licensectl() {
    local line cur="${COMP_WORDS[COMP_CWORD]}"
    [[ $cur == "=" ]] && cur=""
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == ":files" ]]; then
            compopt -o filenames 2>/dev/null
            while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "$cur")
        else
            COMPREPLY+=("${line%%$'\t'*}")
        fi
    done < <("${COMP_WORDS[0]}" __complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _licensectl licensectl
`,
	"zsh": `#compdef licensectl
_licensectl() {
    local line
    local -a found
    for line in "${(@f)$("${words[1]}" __complete zsh "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        if [[ $line == ":files" ]]; then
            _files
        elif [[ -n $line ]]; then
            found+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
        fi
    done
    if (( $#found )); then _describe -V licensectl found; fi
}
if [[ ${funcstack[1]} == _licensectl ]]; then
    _licensectl "$@"
else
    compdef _licensectl licensectl
fi
`,
	"fish": `# fish completion for licensectl
function __licensectl_complete
    set -l words (commandline -opc)
    set -l cur (commandline -ct)
    set -l name $words[1]
    set -e words[1]
    for line in ($name __complete fish $words "$cur" 2>/dev/null)
        if test "$line" = :files
            __fish_complete_path "$cur"
        else
            echo $line
        end
    end
end
complete -c licensectl -f -a '(__licensectl_complete)'
`,
}

var shells = []string{"bash", "zsh", "fish"}

func (p *program) completionCommand() *cli.Command {
	return &cli.Command{
		Name: "completion", Category: "Service", Usage: "print what makes a shell complete licensectl's command lines",
		UsageText: "licensectl completion bash|zsh|fish",
		Description: "Commands, options, the values of options that have fixed ones, and files are completed.\n\n" +
			"Examples:\n" +
			"  source <(licensectl completion bash)                                       # for this shell; or in ~/.bashrc\n" +
			"  licensectl completion zsh >\"${fpath[1]}/_licensectl\"\n" +
			"  licensectl completion fish >~/.config/fish/completions/licensectl.fish",
		Action: func(c *cli.Context) error {
			args, err := arguments(c, "the name of a SHELL: "+strings.Join(shells, ", "))
			if err != nil {
				return err
			}
			script, known := shellScripts[args[0]]
			if !known {
				return usagef("completion knows %s, not %q", strings.Join(shells, ", "), args[0])
			}
			_, err = fmt.Fprint(p.out, script)
			return err
		},
	}
}

// suggestion is something that may stand in a command line.
type suggestion struct{ value, about string }

// printSuggestions answers a shell: a line for each suggestion, with what it means after
// a tab, and ":files" where a file may stand.
func (p *program) printSuggestions(args []string) error {
	if len(args) < 2 {
		return usagef("%s needs a shell and the words of a command line", completeCommand)
	}
	list, files := suggest(p.app(), args[0], args[1:len(args)-1], args[len(args)-1])
	var b strings.Builder
	for _, s := range list {
		b.WriteString(s.value + "\t" + oneLine(s.about) + "\n")
	}
	if files {
		b.WriteString(":files\n")
	}
	_, err := fmt.Fprint(p.out, b.String())
	return err
}

// position is where in the tree of commands a command line stands.
type position struct {
	path     string // names of the commands, with blanks between them
	flags    []cli.Flag
	commands []*cli.Command
	usage    string
	waiting  cli.Flag // the option whose value comes next
	plain    bool     // after "--"
	args     int      // how many arguments there are
}

func (at *position) take(word string) {
	switch {
	case at.waiting != nil:
		at.waiting = nil
	case word == "--" && !at.plain:
		at.plain = true
	case !at.plain && isOption(word):
		if !strings.Contains(word, "=") {
			if f := flagNamed(at.flags, word); f != nil && takesValue(f) {
				at.waiting = f
			}
		}
	default:
		if c := find(at.commands, word); c != nil && at.args == 0 {
			at.path = strings.TrimSpace(at.path + " " + c.Name)
			at.flags, at.commands, at.usage = c.Flags, c.Subcommands, c.UsageText
			return
		}
		at.args++
	}
}

// suggest says what may stand in place of cur, after the words before it.
func suggest(app *cli.App, shell string, before []string, cur string) (list []suggestion, files bool) {
	at := position{flags: app.Flags, commands: app.Commands}
	for _, word := range before {
		if shell == "bash" && word == "=" { // it takes the = of an option for a word
			continue
		}
		at.take(word)
	}
	if shell == "bash" {
		cur = strings.TrimPrefix(cur, "=")
	}
	name, begun, assigned := strings.Cut(cur, "=")
	switch {
	case at.waiting != nil:
		list, files = values(at.waiting, "")
	case !at.plain && assigned && strings.HasPrefix(name, "-"):
		if f := flagNamed(at.flags, name); f != nil && takesValue(f) {
			list, files = values(f, name+"=")
			files = files && begun == ""
		}
	case !at.plain && strings.HasPrefix(cur, "-"):
		list = options(at)
	default:
		list, files = operands(at)
	}
	return slices.DeleteFunc(list, func(s suggestion) bool { return !strings.HasPrefix(s.value, cur) }), files
}

// options are those that a command has.
func options(at position) (list []suggestion) {
	for _, f := range at.flags {
		d, ok := f.(cli.DocGenerationFlag)
		if v, hides := f.(cli.VisibleFlag); !ok || hides && !v.IsVisible() {
			continue
		}
		_, about := placeholder(d.GetUsage())
		list = append(list, suggestion{dashed(f.Names()[0]), about})
	}
	list = append(list, suggestion{"--help", "explain"})
	if at.path == "" {
		list = append(list, suggestion{"--version", "which build this is"})
	}
	return list
}

// operands are the commands, or the arguments that are known.
func operands(at position) (list []suggestion, files bool) {
	if at.args == 0 {
		for _, c := range at.commands {
			list = append(list, suggestion{c.Name, c.Usage})
		}
	}
	switch {
	case at.path == "completion" && at.args == 0:
		for _, name := range shells {
			list = append(list, suggestion{name, ""})
		}
	case at.path == "order stage" && at.args == 1:
		for _, s := range license.Stages() {
			list = append(list, suggestion{string(s), ""})
		}
	}
	return list, len(at.commands) == 0 && takesFile(at)
}

// fileArgument finds a file among the arguments that a usage names.
var fileArgument = regexp.MustCompile(`^\[?(FILE|F|DIR|BACKUP)(\.[a-z]+)?\]?$`)

// takesFile reports whether the next argument of a command is a file.
func takesFile(at position) bool {
	for usage := range strings.SplitSeq(at.usage, "\n") {
		operand := -1
		rest := strings.Fields(strings.TrimPrefix(usage, "licensectl "+at.path))
		for i := 0; i < len(rest); i++ {
			if strings.HasPrefix(strings.TrimPrefix(rest[i], "["), "-") { // an option, and what belongs to it
				if !strings.HasSuffix(rest[i], "]") {
					i++
				}
				continue
			}
			if operand++; operand == at.args && fileArgument.MatchString(rest[i]) {
				return true
			}
		}
	}
	return false
}

// values are what an option may be given.
func values(f cli.Flag, prefix string) (list []suggestion, files bool) {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return nil, false
	}
	for _, v := range choices(d.GetUsage()) {
		list = append(list, suggestion{prefix + v, ""})
	}
	if s, is := f.(*cli.StringFlag); is && s.TakesFile {
		files = true
	}
	return list, files
}

// word is one value among those that the usage of an option lists.
var word = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

// choices are the values that an option can have. The usage of one with fixed values
// ends with them: "print as FORM: table, json".
func choices(usage string) []string {
	i := strings.LastIndex(usage, ": ")
	if i < 0 {
		return nil
	}
	list := strings.Split(usage[i+2:], ", ")
	for _, v := range list {
		if !word.MatchString(v) {
			return nil
		}
	}
	if len(list) < 2 && !strings.Contains(usage, "`FORM`") {
		return nil
	}
	return list
}

func flagNamed(flags []cli.Flag, option string) cli.Flag {
	name := strings.TrimPrefix(strings.TrimPrefix(option, "-"), "-")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func takesValue(f cli.Flag) bool {
	d, ok := f.(cli.DocGenerationFlag)
	return ok && d.TakesValue()
}
