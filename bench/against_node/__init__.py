"""`maeari bench node`: maeari and the guide as it is written in Node.js, in turns on the same servers."""
