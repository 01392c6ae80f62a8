package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
)

// pageFlags are those of a command that prints a list page by page.
func pageFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "limit", Usage: "at most so `MANY` on a page, up to 1000"},
		&cli.StringFlag{Name: "cursor", Usage: "go on where a page ended: its `NEXT`"},
		&cli.BoolFlag{Name: "all", Usage: "all pages"},
		outputFlag(formTable, formJSON, formCSV),
	}
}

// checkLimit refuses a --limit that no page has.
func checkLimit(c *cli.Context) error {
	if limit := c.Int("limit"); c.IsSet("limit") && (limit < 1 || limit > maxBatch) {
		return usagef("--limit must be between 1 and %d", maxBatch)
	}
	return nil
}

// noteNext says where the next page begins, "" for none.
func (p *program) noteNext(next string) {
	if next != "" {
		p.note("there are more: --all, or --cursor %s", next)
	}
}

// pages fetches the page of a list that begins at a cursor, "" for the first, and
// says where the next one begins, "" after the last.
type pages[T any] func(cursor string) (page []T, next string, err error)

// each gives do the page at a cursor, and with all those after it, and returns where
// the next one begins. A page that is empty and not the last, since little of
// what there is was asked for, is not what anybody wants to see: the next comes too.
func (fetch pages[T]) each(cursor string, all bool, do func([]T) error) (next string, err error) {
	for {
		page, next, err := fetch(cursor)
		if err == nil {
			err = do(page)
		}
		if err != nil || next == "" || !all && len(page) > 0 {
			return next, err
		}
		cursor = next
	}
}

// everyPage returns what each gives. names is what the list holds, for an error in
// the middle of it.
func everyPage[T any](cursor string, all bool, names string, fetch pages[T]) (list []T, next string, err error) {
	list = []T{}
	next, err = fetch.each(cursor, all, func(page []T) error {
		list = append(list, page...)
		return nil
	})
	if err != nil && len(list) > 0 {
		err = fmt.Errorf("after %d %s: %w", len(list), names, err)
	}
	return list, next, err
}
