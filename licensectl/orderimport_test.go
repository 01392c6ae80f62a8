package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// A file is read whole or its faults are named by their lines, as they stand in it.
func TestReadOrders(t *testing.T) {
	since := time.Date(2026, 1, 2, 1, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		file   string
		orders []adminwire.AddOrder
		lines  []int
		faults []string
	}{
		"all columns": {
			"\ufeff" + strings.Join(importColumns(), ",") + "\r\n CS1 , CS1-1,koogallery,To-Deliver,2026-01-02T09:00:00+08:00,3,OFFI1,2,\"A, \"\"B\"\"\",lic_1,2026-01-01,2027-01-01,why\r\n",
			[]adminwire.AddOrder{{
				Order: "CS1", Line: "CS1-1", Channel: "koogallery", Stage: license.StageToDeliver, StageAt: &since, Rejections: 3, Offer: "OFFI1", Amount: 2,
				Customer: `A, "B"`, License: "lic_1", OrderedAt: new(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)),
				ExpiresAt: new(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)), Note: "why",
			}},
			[]int{2},
			nil,
		},
		"as it was listed": {
			"order,line,turn,waits,customer\nCS1,-,merchant,77,'=1+1\n\n\"CS2\n\",,,,'quoted'\n",
			[]adminwire.AddOrder{{Order: "CS1", Customer: "=1+1"}, {Order: "CS2", Customer: "'quoted'"}},
			[]int{2, 4},
			nil,
		},
		"nothing":           {"", nil, nil, []string{"line 1: there is no line that names the columns"}},
		"no order":          {"order\n", nil, nil, []string{"line 2: there is no order"}},
		"no column":         {"customer\nACME\n", nil, nil, []string{"line 1: there is no column order"}},
		"a column twice":    {"order,Order\nCS1,CS1\n", nil, nil, []string{`line 1: the column "order" stands there twice`}},
		"a quote left open": {"order\nCS1\n\"CS2\n", []adminwire.AddOrder{{Order: "CS1"}}, []int{2}, []string{"line 3: extraneous or missing \" in quoted-field"}},
		"numbers": {
			"order,amount,rejections\nCS1,two,-1\n",
			[]adminwire.AddOrder{{Order: "CS1"}},
			[]int{2},
			[]string{`line 2, amount: "two" is no number`, `line 2, rejections: "-1" is no number`},
		},
	} {
		orders, lines, faults := readOrders([]byte(c.file))
		if diff := cmp.Diff(c.faults, faults); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(c.orders, orders) + cmp.Diff(c.lines, lines); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	many := "order\n" + strings.Repeat("CS1\n", maxImport+1)
	if orders, _, faults := readOrders([]byte(many)); len(orders) != maxImport || len(faults) != 1 || !strings.HasPrefix(faults[0], fmt.Sprintf("line %d: there are more", maxImport+2)) {
		t.Errorf("%d orders, %v", len(orders), faults)
	}
}

func FuzzReadOrders(f *testing.F) {
	f.Add([]byte("order,line,stage_at\nCS1,'=1,2026-01-01\n"))
	f.Add([]byte("order\n\"a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		orders, lines, faults := readOrders(data)
		if len(orders) != len(lines) || len(orders) > maxImport || len(orders) == 0 && len(faults) == 0 {
			t.Errorf("%d orders of %d lines, %v", len(orders), len(lines), faults)
		}
	})
}

// What a spreadsheet would calculate is text, and comes back as it was.
func TestCSVCells(t *testing.T) {
	cells := []string{"=1+1", "+1", "-1", "@SUM(1)", "\tx", "\r=1", "a=1", "-", "", "'x", "ACME"}
	want := []string{"'=1+1", "'+1", "'-1", "'@SUM(1)", "'\tx", "'\r=1", "a=1", "-", "", "'x", "ACME"}
	var b bytes.Buffer
	if err := writeCSV(&b, cells); err != nil {
		t.Fatal(err)
	}
	got, err := csv.NewReader(&b).Read()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v: %s", err, diff)
	}
	for i, cell := range got {
		if back := fromCell(cell); back != cells[i] {
			t.Errorf("%q came back as %q", cells[i], back)
		}
	}
}

// ordersFile writes a CSV file of so many orders, with texts as long as they may be.
func ordersFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: orders-file FILE ROWS")
	}
	rows, err := strconv.Atoi(args[1])
	ts.Check(err)
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	ts.Check(w.Write([]string{"order", "line", "channel", "stage", "stage_at", "rejections", "marketplace_product", "amount", "customer", "ordered_at", "expires_at", "note"}))
	wide := func(n, width int) string { return fmt.Sprintf("CS%0*d", width-2, n) }
	for n := range rows {
		ts.Check(w.Write([]string{
			wide(n, 64), wide(n, 64), license.ChannelManual, string(license.StageAwaitingCode), "2026-01-02T09:00:00+08:00", "1000", wide(n, 64), "1000000",
			strings.Repeat("\"ü&", 64), "2026-01-01T09:00:00+08:00", "2027-01-01T09:00:00+08:00", strings.Repeat("\"ü&", 128),
		}))
	}
	w.Flush()
	ts.Check(errors.Join(w.Error(), os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600)))
}
