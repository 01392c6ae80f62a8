package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// issueLine is a line of a JSON Lines file: the members of the admin API, and a day
// as the end.
type issueLine struct {
	Product   string           `json:"product"`
	Customer  string           `json:"customer"`
	Order     string           `json:"order"`
	ExpiresAt string           `json:"expires_at"`
	For       string           `json:"for"`
	Perpetual bool             `json:"perpetual"`
	Machines  *int             `json:"machines"`
	Features  map[string]any   `json:"features"`
	Phases    adminwire.Phases `json:"phases"`
	Lease     string           `json:"lease"`
	Refresh   string           `json:"refresh"`
	Overage   *int             `json:"overage"`
	Trial     *bool            `json:"trial"`
}

func (f *issueFile) readLines(data []byte) {
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(make([]byte, 0, maxIssueLine), maxIssueLine)
	n := 0
	for s.Scan() {
		n++
		text := bytes.TrimSpace(s.Bytes())
		if len(text) == 0 {
			continue
		}
		row, err := readIssueLine(text)
		if err != nil {
			f.fault(n, "%v", err)
			continue
		}
		row.line = n
		if !f.add(row) {
			return
		}
	}
	if s.Err() != nil {
		f.fault(n+1, "it is longer than %d KiB", maxIssueLine>>10)
	}
}

func readIssueLine(text []byte) (issueRow, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	var in issueLine
	if err := dec.Decode(&in); err != nil {
		kind, ok := errors.AsType[*json.UnmarshalTypeError](err)
		switch {
		case ok && kind.Field != "":
			return issueRow{}, fmt.Errorf("%s is a %s where a %s is expected", kind.Field, kind.Value, kind.Type)
		case strings.HasPrefix(err.Error(), "json: unknown field"):
			return issueRow{}, errors.New(strings.TrimPrefix(err.Error(), "json: ") + "; the fields are " + strings.Join(issueColumns, ", "))
		}
		return issueRow{}, errors.New("it is not a JSON object")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return issueRow{}, errors.New("there is something after the JSON object")
	}
	row := issueRow{BulkRow: adminwire.BulkRow{
		Product: in.Product, Customer: in.Customer, Order: in.Order, For: in.For, Perpetual: in.Perpetual,
		Features: in.Features, Phases: in.Phases, Overage: in.Overage, Trial: in.Trial != nil && *in.Trial,
	}, full: in.Trial != nil && !*in.Trial}
	if err := cmp.Or(putNamed("lease", &row.Phases.Lease, in.Lease), putNamed("refresh", &row.Phases.Refresh, in.Refresh)); err != nil {
		return row, err
	}
	if in.Machines != nil {
		if row.Machines = *in.Machines; row.Machines < 1 {
			return row, fmt.Errorf("machines: %d is no number of machines", *in.Machines)
		}
	}
	for name, v := range in.Features {
		switch v.(type) {
		case bool, string, json.Number:
		default:
			return row, fmt.Errorf("features: %q is neither true, false, a number nor a string", name)
		}
	}
	if in.ExpiresAt != "" {
		if err := row.putEnd(in.ExpiresAt); err != nil {
			return row, fmt.Errorf("expires_at: %w", err)
		}
	}
	return row, nil
}

// putNamed is putOnce for what may be absent.
func putNamed(name string, into *string, text string) error {
	if text == "" {
		return nil
	}
	if err := putOnce(into, text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
