package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// jsonNode is a JSON value that knows where it stands. encoding/json tells the
// place of a syntax error only, not of a misspelt member.
type jsonNode struct {
	line    int
	value   any // string, json.Number, bool, nil, []*jsonNode or *jsonObject
	subject string
}

type jsonObject struct {
	names   []string
	members map[string]*jsonNode
	used    map[string]bool
}

// jsonReader reads a document into nodes, and then notes the first thing that is
// wrong with them.
type jsonReader struct {
	name string // of the file
	err  error
}

func (r *jsonReader) fail(line int, key, format string, args ...any) {
	if r.err == nil {
		if key != "" {
			key += ": "
		}
		r.err = fmt.Errorf("%s:%d: %s%s", r.name, line, key, fmt.Sprintf(format, args...))
	}
}

const maxDepth = 16

func (r *jsonReader) parse(data []byte) *jsonNode {
	// Only here does a syntax error tell its true place.
	var raw json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		at := len(data)
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = min(max(int(syntax.Offset)-1, 0), len(data))
		}
		r.fail(1+bytes.Count(data[:at], []byte("\n")), "", "no JSON: %v", err)
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	line := func() int { return 1 + bytes.Count(data[:min(int(dec.InputOffset()), len(data))], []byte("\n")) }
	var value func(depth int, subject string) *jsonNode
	next := func() json.Token {
		if r.err != nil {
			return nil
		}
		token, err := dec.Token()
		if err != nil { // the whole was found to be JSON before
			r.fail(line(), "", "no JSON")
		}
		return token
	}
	value = func(depth int, subject string) *jsonNode {
		token := next()
		n := &jsonNode{line: line(), value: token, subject: subject}
		delim, nested := token.(json.Delim)
		if r.err != nil || !nested {
			return n
		}
		if depth == maxDepth {
			r.fail(n.line, subject, "nested too deeply")
			return n
		}
		if delim == '[' {
			var list []*jsonNode
			for r.err == nil && dec.More() {
				list = append(list, value(depth+1, fmt.Sprintf("%s[%d]", subject, len(list))))
			}
			n.value = list
		} else {
			o := &jsonObject{members: make(map[string]*jsonNode), used: make(map[string]bool)}
			for r.err == nil && dec.More() {
				name, _ := next().(string)
				at := line()
				if o.members[name] != nil {
					r.fail(at, join(subject, name), "given twice")
				}
				member := value(depth+1, join(subject, name))
				member.line = at
				o.names = append(o.names, name)
				o.members[name] = member
			}
			n.value = o
		}
		next() // the end of it
		return n
	}
	return value(0, "")
}

func join(subject, name string) string {
	name = strconv.Quote(name)
	name = name[1 : len(name)-1]
	if subject == "" {
		return name
	}
	return subject + "." + name
}

// object is the node's object; it is empty where the node is something else.
func (r *jsonReader) object(n *jsonNode) *jsonObject {
	o, ok := n.value.(*jsonObject)
	if !ok {
		r.fail(n.line, n.subject, "want an object")
		return &jsonObject{}
	}
	return o
}

func (o *jsonObject) take(name string) *jsonNode {
	n := o.members[name]
	if n != nil {
		o.used[name] = true
	}
	return n
}

// unknown complains about the first member that nobody took.
func (r *jsonReader) unknown(o *jsonObject) {
	for _, name := range o.names {
		if !o.used[name] {
			n := o.members[name]
			r.fail(n.line, n.subject, "unknown key, or one that does not belong here")
			return
		}
	}
}

func (r *jsonReader) list(n *jsonNode, most int) []*jsonNode {
	list, ok := n.value.([]*jsonNode)
	if !ok {
		r.fail(n.line, n.subject, "want a list")
	}
	if len(list) > most {
		r.fail(n.line, n.subject, "%d members, at most %d allowed", len(list), most)
	}
	return list
}

func (r *jsonReader) text(o *jsonObject, name string, most int) string {
	n := o.take(name)
	if n == nil {
		return ""
	}
	s, ok := n.value.(string)
	if !ok || characters(s) > most {
		r.fail(n.line, n.subject, "want a text of up to %d characters", most)
	}
	return s
}

func (r *jsonReader) flag(o *jsonObject, name string) bool {
	n := o.take(name)
	if n == nil {
		return false
	}
	b, ok := n.value.(bool)
	if !ok {
		r.fail(n.line, n.subject, "want true or false")
	}
	return b
}

func (r *jsonReader) whole(o *jsonObject, name string, most uint64) uint64 {
	n := o.take(name)
	if n == nil {
		return 0
	}
	number, _ := n.value.(json.Number)
	v, err := strconv.ParseUint(number.String(), 10, 64)
	if err != nil || v > most {
		r.fail(n.line, n.subject, "want a whole number from 0 to %d", most)
		return 0
	}
	return v
}

func (r *jsonReader) fraction(n *jsonNode) float64 {
	number, _ := n.value.(json.Number)
	v, err := number.Float64()
	if err != nil || math.IsNaN(v) || v < 0 || v > 1 {
		r.fail(n.line, n.subject, "want a probability from 0 to 1")
	}
	return v
}

func (r *jsonReader) duration(o *jsonObject, name string) time.Duration {
	n := o.take(name)
	if n == nil {
		return 0
	}
	var p period
	s, ok := n.value.(string)
	if !ok || p.UnmarshalText([]byte(s)) != nil || p < 0 {
		r.fail(n.line, n.subject, `want a duration such as "90s", "2h" or "365d"`)
		return 0
	}
	return time.Duration(p)
}

// choice is a text that must be one of several; empty where it is absent.
func (r *jsonReader) choice(o *jsonObject, name string, among []string) string {
	n := o.members[name]
	s := r.text(o, name, 64)
	if n == nil {
		return ""
	}
	if !slices.Contains(among, s) {
		r.fail(n.line, n.subject, "%q is none of %s", shorten(s, 32), strings.Join(among, ", "))
		return ""
	}
	return s
}
