package config

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Both are far beyond any configuration. The parser's time grows with the
// square of the depth of brackets.
const (
	maxFile  = 256 << 10
	maxDepth = 100
)

// decodeFile reads a YAML document over the values of c. It is written here,
// on the library's syntax tree, because every complaint names line and key,
// and because a number where text belongs, or the reverse, is a complaint.
func (c *Config) decodeFile(name string, data []byte) error {
	c.src.file = name
	fail := func(line int, format string, args ...any) error {
		return &Error{Where: name, Line: line, Err: fmt.Errorf(format, args...)}
	}
	if len(data) > maxFile {
		return fail(0, "the file is larger than %d KiB", maxFile>>10)
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) {
		return fail(0, "the file is not UTF-8 text")
	}
	if n := tooDeep(data); n > 0 {
		return fail(n, "more than %d brackets are open", maxDepth)
	}
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		var syntax yaml.Error
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			return fail(line(syntax.GetToken()), "%s", syntax.GetMessage())
		}
		return fail(0, "%w", err)
	}
	if len(file.Docs) > 1 {
		at, what := file.Docs[1].Start, "a second document begins; a configuration is one"
		if d, ok := file.Docs[0].Body.(*ast.DirectiveNode); ok {
			at, what = d.GetToken(), "directives are not read"
		} else if at == nil && file.Docs[1].Body != nil {
			at = file.Docs[1].Body.GetToken()
		}
		return fail(line(at), "%s", what)
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil {
		return nil
	}
	d := decoder{src: &c.src}
	d.value("", file.Docs[0].Body, reflect.ValueOf(c).Elem())
	return errors.Join(d.errs...)
}

// tooDeep returns the line in which too many brackets are open, or zero.
// Brackets in text and comments count too.
func tooDeep(data []byte) int {
	depth, number := 0, 1
	for _, b := range data {
		switch b {
		case '\n':
			number++
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(depth-1, 0)
		}
		if depth > maxDepth {
			return number
		}
	}
	return 0
}

func line(t *token.Token) int {
	if t == nil || t.Position == nil {
		return 0
	}
	return t.Position.Line
}

type decoder struct {
	src  *source
	errs []error
}

func (d *decoder) failf(key string, n ast.Node, format string, args ...any) {
	e := d.src.err(key, fmt.Errorf(format, args...))
	if n != nil {
		e.Where, e.Line = d.src.file, line(n.GetToken())
	}
	d.errs = append(d.errs, e)
}

// value decodes n into v. A null leaves the default.
func (d *decoder) value(key string, n ast.Node, v reflect.Value) {
	if n == nil {
		return
	}
	switch n := n.(type) {
	case *ast.NullNode:
		return
	case *ast.TagNode, *ast.AnchorNode, *ast.AliasNode:
		d.failf(key, n, "tags, anchors and aliases are not read; write the value out")
		return
	}
	if f, ok := reflect.TypeAssert[*Features](v.Addr()); ok {
		d.features(key, n, f)
		return
	}
	if o, ok := reflect.TypeAssert[*Overage](v.Addr()); ok {
		d.overage(key, n, o)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if !isScalar(v.Type()) {
			d.structure(key, n, v)
			return
		}
	case reflect.Slice:
		d.list(key, n, v)
		return
	default:
	}
	text, quoted, ok := scalar(n)
	if !ok {
		d.failf(key, n, "%s belongs here, not %s", want(v.Type()), kindOf(n))
		return
	}
	if _, isString := n.(*ast.StringNode); v.Kind() == reflect.String && !isString && !quoted {
		d.failf(key, n, "text belongs here, not %s; put it in quotes if it is meant as text", kindOf(n))
		return
	}
	if quoted && v.Kind() != reflect.String && (v.Kind() == reflect.Int || v.Kind() == reflect.Bool) {
		d.failf(key, n, "%s belongs here, without quotes", want(v.Type()))
		return
	}
	if err := setText(v, text); err != nil {
		d.failf(key, n, "%w", err)
	}
}

func (d *decoder) structure(key string, n ast.Node, v reflect.Value) {
	d.mapping(key, n, func(name string, at ast.Node, value ast.Node) {
		for i := range v.NumField() {
			if name != "" && tagName(v.Type().Field(i)) == name {
				d.value(child(key, name), value, v.Field(i))
				return
			}
		}
		d.failf(child(key, name), at, "unknown key; known here: %s", strings.Join(fieldNames(v.Type()), ", "))
	})
}

// mapping calls each with every key of n, and complains about what is no plain mapping.
func (d *decoder) mapping(key string, n ast.Node, each func(name string, at, value ast.Node)) {
	var pairs []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		pairs = n.Values
	case *ast.MappingValueNode:
		pairs = []*ast.MappingValueNode{n}
	default:
		d.failf(key, n, "keys with values belong here, not %s", kindOf(n))
		return
	}
	seen := map[string]bool{}
	for _, pair := range pairs {
		name, _, ok := scalar(pair.Key)
		if !ok {
			d.failf(key, pair.Key, "only plain text can be a key")
			continue
		}
		if seen[name] {
			d.failf(child(key, name), pair.Key, "the key stands here twice")
			continue
		}
		seen[name] = true
		d.src.set(child(key, name), d.src.file, line(pair.Key.GetToken()))
		each(name, pair.Key, pair.Value)
	}
}

func (d *decoder) list(key string, n ast.Node, v reflect.Value) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.failf(key, n, "a list belongs here, not %s", kindOf(n))
		return
	}
	items := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, n := range seq.Values {
		at, item := element(key, i), items.Index(i)
		if n == nil {
			d.failf(at, seq, "the entry is empty")
			continue
		}
		d.src.set(at, d.src.file, line(n.GetToken()))
		if _, null := n.(*ast.NullNode); null {
			d.failf(at, n, "the entry is empty")
			continue
		}
		if def, ok := reflect.TypeAssert[interface{ setDefaults() }](item.Addr()); ok {
			def.setDefaults()
		}
		d.value(at, n, item)
	}
	v.Set(items)
}

// overage reads the word refuse, or how many are allowed.
func (d *decoder) overage(key string, n ast.Node, o *Overage) {
	if text, _, ok := scalar(n); ok {
		if err := checkOverage(text); err != nil {
			d.failf(key, n, "%w", err)
		}
		*o = Overage{}
		return
	}
	var allowed struct {
		Allow int `yaml:"allow"`
	}
	d.structure(key, n, reflect.ValueOf(&allowed).Elem())
	o.Allow = allowed.Allow
}

func (d *decoder) features(key string, n ast.Node, features *Features) {
	*features = Features{}
	d.mapping(key, n, func(name string, at, value ast.Node) {
		key := child(key, name)
		if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '=' || r == 0x7f }) {
			d.failf(key, at, "a feature's name has 1 to 64 characters, and no blank and no = among them")
			return
		}
		text, quoted, ok := scalar(value)
		switch {
		case !ok || text == "" && !quoted:
			d.failf(key, at, "a feature is true, false, a number or text")
		case quoted:
			(*features)[name] = text
		case text == "true":
			(*features)[name] = true
		case text == "false":
		case jsonNumber.MatchString(text) && len(text) <= 64:
			(*features)[name] = number(text)
		default:
			if _, isText := value.(*ast.StringNode); !isText {
				d.failf(key, at, "%s is no number as JSON writes it; put it in quotes if it is meant as text", text)
				return
			}
			(*features)[name] = text
		}
	})
}

// scalar returns the text of a plain or quoted value, as it was written.
func scalar(n ast.Node) (text string, quoted, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		quoted := n.Token != nil && (n.Token.Type == token.SingleQuoteType || n.Token.Type == token.DoubleQuoteType)
		return n.Value, quoted, true
	case *ast.LiteralNode:
		if n.Value == nil {
			return "", true, true
		}
		return n.Value.Value, true, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, false, true
	}
	return "", false, false
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	}
	return "this"
}

func want(t reflect.Type) string {
	switch reflect.New(t).Interface().(type) {
	case *Duration:
		return "a duration"
	case *Machines:
		return `a number or "amount"`
	case *netip.Prefix:
		return "a network"
	case *bool:
		return "true or false"
	case *int:
		return "a number"
	}
	return "text"
}

// isScalar reports whether values of the struct type t are written as text.
func isScalar(t reflect.Type) bool {
	return t == reflect.TypeFor[Machines]() || t == reflect.TypeFor[netip.Prefix]()
}

// setText sets v from text, as it stands in a file, a variable or a flag.
func setText(v reflect.Value, text string) error {
	var err error
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
	case *bool:
		*p, err = parseBool(text)
	case *int:
		*p, err = parseInt(text)
	case *Duration:
		*p, err = ParseDuration(text)
	case *Machines:
		*p, err = parseMachines(text)
	case *netip.Prefix:
		*p, err = parseNetwork(text)
	default:
		err = fmt.Errorf("a value of type %s cannot be set from text", strconv.Quote(v.Type().String()))
	}
	return err
}

// tagName is the key of a field, empty for one that is not configured.
func tagName(f reflect.StructField) string { return f.Tag.Get("yaml") }

func fieldNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		if name := tagName(f); name != "" {
			names = append(names, name)
		}
	}
	return names
}
