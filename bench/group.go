package main

import (
	"errors"
	"fmt"
	"runtime"

	bolt "go.etcd.io/bbolt"
)

// bucket numbers the buckets that the prototype writes, named and filled as the
// server's are.
type bucket int

const (
	licenses bucket = iota
	codes
	installs
	audit
	marks
	lists
	standing
	lookups
	bucketCount
)

var bucketNames = [bucketCount][]byte{[]byte("licenses"), []byte("codes"), []byte("installs"), []byte("audit"), []byte("marks"), []byte("statuslists"), []byte("standing"), []byte("lookups")}

var bucketFill = [bucketCount]float64{0.9, bolt.DefaultFillPercent, bolt.DefaultFillPercent, 1, 0.9, 0.9, bolt.DefaultFillPercent, bolt.DefaultFillPercent}

// put is a key and its value, encoded beforehand. Where value is nil the key is removed.
type put struct {
	in         bucket
	key, value []byte
}

// page is the buckets of one bbolt transaction, opened once for a whole group.
type page [bucketCount]*bolt.Bucket

func openPage(tx *bolt.Tx) (page, error) {
	var p page
	for i := range p {
		if p[i] = tx.Bucket(bucketNames[i]); p[i] == nil {
			return p, fmt.Errorf("there is no bucket %s; has the format of the store changed?", bucketNames[i])
		}
		p[i].FillPercent = bucketFill[i]
	}
	return p, nil
}

func (p *page) write(puts []put) error {
	for _, w := range puts {
		var err error
		if w.value == nil {
			err = p[w.in].Delete(w.key)
		} else {
			err = p[w.in].Put(w.key, w.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// openBolt opens a bbolt file as the server does, with fsync.
func openBolt(path string) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType, InitialMmapSize: 1 << 30, NoStatistics: true})
}

// committer is the bare group commit: one goroutine takes what waits, runs it on
// one transaction, commits, and then says so.
type committer struct {
	db    *bolt.DB
	queue chan *change
	ended chan struct{}
}

type change struct {
	run  func(p *page) error
	err  error
	done chan struct{}
}

// mostTogether is how many changes one commit carries at most.
const mostTogether = 256

func openCommitter(path string) (*committer, error) {
	db, err := openBolt(path)
	if err != nil {
		return nil, err
	}
	c := &committer{db: db, queue: make(chan *change, mostTogether), ended: make(chan struct{})}
	go c.write()
	return c, nil
}

func (c *committer) close() error {
	close(c.queue)
	<-c.ended
	return c.db.Close()
}

// update returns when what run did is on disk.
func (c *committer) update(run func(p *page) error) error {
	ch := &change{run: run, done: make(chan struct{})}
	c.queue <- ch
	<-ch.done
	return ch.err
}

func (c *committer) write() {
	defer close(c.ended)
	var together []*change
	for first := range c.queue {
		together = append(together[:0], first)
		err := c.db.Update(func(tx *bolt.Tx) error {
			p, err := openPage(tx)
			if err != nil {
				return err
			}
			first.err = first.run(&p)
			for round := range 3 {
				if round > 0 {
					runtime.Gosched() // those that the last commit woke come back just then
				}
				for len(together) < mostTogether {
					next := c.waiting()
					if next == nil {
						break
					}
					next.err = next.run(&p)
					together = append(together, next)
				}
			}
			return nil
		})
		for _, ch := range together {
			ch.err = errors.Join(ch.err, err)
			close(ch.done)
		}
	}
}

// waiting returns a change that waits already, or nil.
func (c *committer) waiting() *change {
	select {
	case ch := <-c.queue:
		return ch
	default:
		return nil
	}
}
