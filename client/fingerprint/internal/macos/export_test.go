package macos

// ParseList reads a property list.
var ParseList = parseList
