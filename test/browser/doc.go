// Package browser holds the tests that look at pages as people do: in Chromium, in
// both languages, light and dark, on a desktop and on a phone, by keyboard, and without
// script.
//
// Chromium is the distribution's, driven by playwright-core on Node, which `make
// browser-tools` installs at a fixed version with axe-core, as the tools of other tests
// are. chromedp would save the Node program, but it speaks the debugging protocol and no
// more: the emulation of language, colour scheme, viewport and missing script, waiting
// for pages, and the loading of axe-core (which comes by npm in any case) would be code
// of ours, and four modules would stand in the go.mod of everybody who imports package
// client. The program in testdata/playwright only does what it is told and measures; what
// is right is decided here, and TestChecks shows defects to it, one by one, that have to
// be found.
package browser
