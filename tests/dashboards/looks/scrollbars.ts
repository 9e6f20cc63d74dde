// `react-custom-scrollbars-2` for a bundle of ECMAScript modules: it is CommonJS, and its default export arrives below `default`.
//
// In: the package. Out: its component under both names by which Grafana imports it.
// Left out on purpose: its types.

// @ts-nocheck
import exported from './node_modules/react-custom-scrollbars-2/lib/index.js';

export const Scrollbars = exported.Scrollbars ?? exported.default ?? exported;
export default Scrollbars;
