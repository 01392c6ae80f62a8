package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/license"
)

// The exit statuses.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2 // wrong usage or configuration
	exitRefused  = 3 // refused by licence state
	exitNotFound = 4
)

// statusError is an error that decides the exit status itself. One without
// text has said all before.
type statusError struct {
	status int
	text   string
	err    error
}

func (e *statusError) Error() string {
	switch {
	case e.err == nil:
		return e.text
	case e.text == "":
		return e.err.Error()
	}
	return e.text + ": " + e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// usagef is the error for a command line or configuration that cannot be meant.
func usagef(format string, args ...any) error {
	return &statusError{status: exitUsage, text: fmt.Sprintf(format, args...)}
}

// notFoundf is the error for an argument that names nothing.
func notFoundf(format string, args ...any) error {
	return &statusError{status: exitNotFound, text: fmt.Sprintf(format, args...)}
}

// explain gives an error its line for the terminal and its exit status.
func explain(ctx context.Context, err error) (text string, status int) {
	var s *statusError
	var l *license.Error
	switch {
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		return "interrupted", exitFailed
	case errors.As(err, &s):
		return oneLine(s.Error()), s.status
	case errors.As(err, &l):
		return oneLine(refusalText(err, l) + presentText(err)), statusOf(l.Reason)
	}
	return oneLine(err.Error()), exitFailed
}

// statusOf maps the reason of a refusal to the exit status.
func statusOf(r license.Reason) int {
	switch r { //nolint:exhaustive // all other reasons are plain failures
	case license.BadRequest, license.WrongProduct:
		return exitUsage
	case license.UnknownCode, license.UnknownLicense, license.NotFound:
		return exitNotFound
	}
	return exitFailed
}

// refusalText is what was being done, the detail that is meant for people, the
// reason that programs test, and the cause where it is on this machine.
func refusalText(err error, l *license.Error) string {
	text := l.Detail
	if text == "" {
		text = strings.ReplaceAll(string(l.Reason), "_", " ")
	}
	if before, _, ok := strings.Cut(err.Error(), l.Error()); ok {
		text = before + text
	}
	switch l.Reason { //nolint:exhaustive // only these need an addition
	case license.BadRequest:
		if l.Field != "" && !strings.Contains(text, l.Field) {
			text += " (" + l.Field + ")"
		}
	case license.Unreachable:
		return text // its detail holds the cause
	case license.Internal:
	case license.RateLimited:
		text += fmt.Sprintf(" (rate_limited; try again in %s)", l.RetryAfter)
	case license.Unauthorized:
		text += " (unauthorized; is --token-file right?)"
	default:
		text += " (" + string(l.Reason) + ")"
	}
	for _, cause := range l.Unwrap() {
		if _, isReason := cause.(license.Reason); !isReason && cause != nil { //nolint:errorlint // these very values, not what they wrap
			text += ": " + cause.Error()
		}
	}
	return text
}

// presentText is how a licence is that somebody else has changed meanwhile.
func presentText(err error) string {
	late, ok := errors.AsType[*adminclient.RevisionError](err)
	if !ok {
		return ""
	}
	l := late.Current
	return fmt.Sprintf("; it is now (revision %d): %s, of %s, ends %s, %d of %d machines; licensectl audit list --license %s says who changed what",
		l.Revision, l.State, l.Product, when(l.ExpiresAt, "never"), l.InUse, l.Machines, l.ID)
}

// oneLine keeps an error on its line and free of control characters.
func oneLine(s string) string {
	return strings.Join(strings.Fields(printable(s)), " ")
}

// flagComplaint words an error of the flag package as ours are.
func flagComplaint(err error) string {
	text := err.Error()
	if name, ok := strings.CutPrefix(text, "flag provided but not defined: "); ok {
		name = dashed(name)
		if slices.Contains([]string{"--server", "--token-file", "--ca-file", "--cert-file", "--key-file"}, name) {
			return name + " stands before the command"
		}
		return "there is no option " + name
	}
	if name, ok := strings.CutPrefix(text, "flag needs an argument: "); ok {
		return dashed(name) + " needs a value"
	}
	// invalid value "x" for flag -n: parse error
	if before, after, ok := strings.Cut(text, " for flag "); ok {
		name, _, _ := strings.Cut(after, ":")
		return dashed(name) + ": " + before
	}
	return text
}

// dashed is an option's name as people write it.
func dashed(name string) string {
	name = strings.TrimLeft(name, "-")
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}
