// Package plist reads property lists of macOS in their XML form, in which the
// system keeps its settings and says what it has.
package plist

import (
	"bytes"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Limits of a property list. The longest that is read is the list of network
// interfaces, of some 30 KiB.
const (
	MaxList  = 1 << 20 // bytes
	maxDepth = 16
	maxNodes = 1 << 16
)

// Dict is a dictionary of a property list. Its values are Dict, []any, string,
// []byte and bool; numbers and dates are strings.
type Dict = map[string]any

// Parse reads a property list in the XML form. What stands before damage
// is returned with the error, as far as its dictionaries are whole.
func Parse(data []byte) (any, error) {
	if len(data) > MaxList {
		return nil, fmt.Errorf("property list: %d bytes are more than the limit of %d", len(data), MaxList)
	}
	if bytes.HasPrefix(data, []byte("bplist")) {
		return nil, errors.New("property list: it is in the binary form")
	}
	p := listParser{xml.NewDecoder(bytes.NewReader(data)), 0}
	for {
		start, err := p.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, errors.New("property list: it is empty")
		case err != nil:
			return nil, fmt.Errorf("property list: %w", err)
		case start == nil || start.Name.Local == "plist":
			continue
		}
		value, err := p.value(*start, 0)
		if err != nil {
			return value, fmt.Errorf("property list: %w", err)
		}
		return value, nil
	}
}

type listParser struct {
	xml   *xml.Decoder
	nodes int
}

// next returns the next element that begins, nil where one ends.
func (p *listParser) next() (*xml.StartElement, error) {
	for {
		token, err := p.xml.Token()
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if p.nodes++; p.nodes > maxNodes {
				return nil, fmt.Errorf("it has more than %d elements", maxNodes)
			}
			return &t, nil
		case xml.EndElement:
			return nil, nil //nolint:nilnil // an end is no error
		}
	}
}

func (p *listParser) value(start xml.StartElement, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested over %d deep", maxDepth)
	}
	switch start.Name.Local {
	case "dict":
		return p.dict(depth)
	case "array":
		return p.array(depth)
	case "true", "false":
		return start.Name.Local == "true", p.xml.Skip()
	}
	text, err := p.text()
	if err != nil || start.Name.Local != "data" {
		return text, err
	}
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
}

func (p *listParser) dict(depth int) (any, error) {
	d := Dict{}
	for {
		start, err := p.next()
		if err != nil || start == nil {
			return d, err
		}
		if start.Name.Local != "key" {
			return d, fmt.Errorf("a <%s> where a key should be", start.Name.Local)
		}
		key, err := p.text()
		if err != nil {
			return d, err
		}
		if start, err = p.next(); err != nil {
			return d, err
		}
		if start == nil {
			return d, errors.New("a key without a value")
		}
		value, err := p.value(*start, depth+1)
		if err != nil {
			return d, err
		}
		d[key] = value
	}
}

func (p *listParser) array(depth int) (any, error) {
	var all []any
	for {
		start, err := p.next()
		if err != nil || start == nil {
			return all, err
		}
		value, err := p.value(*start, depth+1)
		if err != nil {
			return all, err
		}
		all = append(all, value)
	}
}

// text returns the text up to the end of an element, in which no other may stand.
func (p *listParser) text() (string, error) {
	var b strings.Builder
	for {
		token, err := p.xml.Token()
		if err != nil {
			return "", err
		}
		switch t := token.(type) {
		case xml.CharData:
			b.Write(t)
		case xml.EndElement:
			return b.String(), nil
		case xml.StartElement:
			return "", fmt.Errorf("a <%s> within a text", t.Name.Local)
		}
	}
}

// Dicts returns the dictionaries of an array.
func Dicts(value any) []Dict {
	all, _ := value.([]any)
	var out []Dict
	for _, v := range all {
		if d, ok := v.(Dict); ok {
			out = append(out, d)
		}
	}
	return out
}

// Text returns a text of a dictionary, "" where there is none of that name.
func Text(d Dict, key string) string {
	s, _ := d[key].(string)
	return s
}

// In returns a dictionary within another, nil where there is none of that name.
func In(d Dict, key string) Dict {
	inner, _ := d[key].(Dict)
	return inner
}
