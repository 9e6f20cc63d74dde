// Draws a dashboard with Grafana's own libraries, in a browser.
//
// In: a dashboard in the classic form, and what Prometheus answered to its queries, both from `page.json`. Out: the page, and
// `data-drawn` at its body once it stands.
// Left out on purpose: what Grafana keeps in its server's own front end and publishes nowhere: the plugins around the
// drawing components (here those components of `@grafana/ui` are bound to their options by hand) and the node graph.

import { Component, type ReactNode } from 'react';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import * as data from '@grafana/data';
import * as runtime from '@grafana/runtime';
import * as scenes from '@grafana/scenes';
import * as ui from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

type Any = any;

const nothing = () => null;

/** Settings that every field has, as Grafana registers them at its start. */
function registerFields() {
  const setting = (id: string, process: Any, more = {}) =>
    ({ id, path: id, name: id, editor: nothing, override: nothing, process, shouldApply: () => true, settings: {}, ...more });
  data.standardFieldConfigEditorRegistry.setInit(() => [
    setting('unit', data.unitOverrideProcessor),
    setting('min', data.numberOverrideProcessor),
    setting('max', data.numberOverrideProcessor),
    setting('decimals', data.numberOverrideProcessor),
    setting('displayName', data.displayNameOverrideProcessor),
    setting('noValue', data.stringOverrideProcessor),
    setting('thresholds', data.thresholdsOverrideProcessor),
    setting('mappings', data.valueMappingsOverrideProcessor, { defaultValue: [] }),
    setting('links', data.dataLinksOverrideProcessor),
    setting('color', data.identityOverrideProcessor, { defaultValue: { mode: 'thresholds' } }),
  ] as Any);
  data.standardEditorsRegistry.setInit(() => []);
  const known = new Map(Object.values(data.standardTransformers).map((one: Any) => [one.id, one]));
  data.standardTransformersRegistry.setInit(() =>
    [...known.values()].map((one) => ({ id: one.id, name: one.name, transformation: async () => one, editor: nothing })) as Any);
}

/** What the parts of `@grafana/runtime` ask of a server, which is not there. */
function registerServices() {
  const services: Any = runtime;
  services.setAppEvents(new data.EventBusSrv());
  services.setPluginLinksHook(() => ({ links: [], isLoading: false }));
  services.setPluginComponentsHook(() => ({ components: [], isLoading: false }));
  services.setPluginFunctionsHook(() => ({ functions: [], isLoading: false }));
  services.setReturnToPreviousHook(() => nothing);
  services.setChromeHeaderHeightHook(() => 0);
  services.setCurrentUser({});
  services.setPluginImportUtils({ importPanelPlugin: () => Promise.reject(new Error('no such panel')), getPanelPluginFromCache: nothing });
  services.setDataSourceSrv({ getList: () => [], getInstanceSettings: nothing, get: () => Promise.reject(new Error('no such source')) });
  services.setEchoSrv({ addEvent: nothing, flush: nothing, addBackend: nothing });
  services.setTemplateSrv({ replace: (text: string) => text, getVariables: () => [], containsTemplate: () => false });
}

const Nothing = ({ panel }: Any) => <div className="nothing">{panel.fieldConfig.defaults.noValue ?? 'No data'}</div>;

function Lines(panel: Any) {
  const { data: { series }, width, height, timeRange, options } = panel;
  if (series.length === 0) { return <Nothing panel={panel} />; }
  const props: Any = { frames: series, timeRange, timeZone: 'utc', width, height, legend: options.legend, structureRev: 1, options };
  return <ui.TimeSeries {...props}>{() => <></>}</ui.TimeSeries>;
}

function Table(panel: Any) {
  const [frame] = panel.data.series;
  if (!frame?.length) { return <Nothing panel={panel} />; }
  data.cacheFieldDisplayNames(panel.data.series);
  const props: Any = { data: frame, width: panel.width, height: panel.height, initialSortBy: panel.options.sortBy, structureRev: 1 };
  return <TableNG {...props} getActions={() => []} timeRange={panel.timeRange} />;
}

function Number(panel: Any) {
  const theme = ui.useTheme2();
  const { options, width, height } = panel;
  const values = data.getFieldDisplayValues({
    fieldConfig: panel.fieldConfig, reduceOptions: options.reduceOptions, replaceVariables: (text: string) => text, theme,
    data: panel.data.series, sparkline: options.graphMode !== 'none', timeZone: 'utc',
  } as Any);
  const draw = ({ value, width, height, count }: Any) => (
    <ui.BigValue value={value.display} sparkline={value.sparkline} width={width} height={height} theme={theme} count={count}
      colorMode={options.colorMode} graphMode={options.graphMode} textMode={options.textMode ?? 'auto'} justifyMode={'auto' as Any} />
  );
  const props: Any = { getValues: () => values, renderValue: draw, width, height, source: panel.data, renderCounter: 0, orientation: 'auto' };
  return <ui.VizRepeater {...props} autoGrid itemSpacing={3} />;
}

const Text = ({ options }: Any) => (
  <div className="markdown-html text" style={{ height: '100%', overflow: 'auto' }}
    dangerouslySetInnerHTML={{ __html: data.renderMarkdown(options.content) }} />
);

const NotPublished = () => <div className="not-published">Grafana does not publish this panel</div>;

const NEVER_HIDDEN = { legend: false, tooltip: false, viz: false };
const LINES = {
  drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', showPoints: 'auto', pointSize: 5,
  axisPlacement: 'auto', axisColorMode: 'text', axisLabel: '', scaleDistribution: { type: 'linear' }, hideFrom: NEVER_HIDDEN,
  stacking: { mode: 'none', group: 'A' }, lineStyle: { fill: 'solid' }, thresholdsStyle: { mode: 'off' }, spanNulls: false,
};
const CELLS = { align: 'auto', inspect: false, hideFrom: undefined, cellOptions: { type: 'auto' }, minWidth: undefined, width: undefined };

function registerPanels() {
  const panels: [string, Any, object][] = [
    ['timeseries', Lines, LINES], ['table', Table, CELLS], ['stat', Number, {}], ['text', Text, {}], ['nodeGraph', NotPublished, {}],
  ];
  for (const [id, component, custom] of panels) {
    const plugin: Any = new data.PanelPlugin(component);
    plugin.meta = { id, name: id, type: 'panel', module: '', baseUrl: '', info: { logos: {} }, skipDataQuery: id === 'text' };
    plugin.useFieldConfig({
      useCustomConfig: (builder: Any) => Object.entries(custom).forEach(([path, defaultValue]) => builder.addCustomEditor({
        id: path, path, name: path, defaultValue, editor: nothing, override: nothing, process: data.identityOverrideProcessor,
        shouldApply: () => true, settings: {},
      })),
    });
    scenes.sceneUtils.registerRuntimePanelPlugin({ pluginId: `drawn-${id}`, plugin });
  }
}

/** What Grafana's data source makes of Prometheus' answer: a frame per series, or one with a row per series. */
function frames(target: Any, result: Any[], several: boolean): Any[] {
  const seconds = (sample: Any) => sample[0] * 1000;
  // A line cannot be drawn through what is no number.
  const value = (sample: Any) => (isFinite(+sample[1]) ? +sample[1] : null);
  const samples = (series: Any) => series.values ?? [series.value];
  const field = (name: string, type: data.FieldType, values: Any[], more = {}) => ({ name, type, config: {}, values, ...more });
  if (target.format !== 'table') {
    return result.map((series) => ({ refId: target.refId, length: samples(series).length, fields: [
      field('Time', data.FieldType.time, samples(series).map(seconds)),
      field('Value', data.FieldType.number, samples(series).map(value),
        { labels: series.metric, config: { displayNameFromDS: legend(target.legendFormat, series.metric) } }),
    ] }));
  }
  const labels = [...new Set(result.flatMap((series) => Object.keys(series.metric)))].sort();
  return result.length === 0 ? [] : [{ refId: target.refId, length: result.length, fields: [
    field('Time', data.FieldType.time, result.map((series) => seconds(series.value))),
    ...labels.map((label) => field(label, data.FieldType.string, result.map((series) => series.metric[label] ?? ''))),
    field(several ? `Value #${target.refId}` : 'Value', data.FieldType.number, result.map((series) => value(series.value))),
  ] }];
}

const legend = (format: string, labels: Any) => format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '') || 'Value';

function item(panel: Any, answers: Any, timeRange: Any) {
  const targets: Any[] = panel.targets ?? [];
  const series = targets.flatMap((target) => frames(target, answers[`${panel.id}/${target.refId}`] ?? [], targets.length > 1));
  const state = data.LoadingState.Done;
  let source: Any = new scenes.SceneDataNode({ data: { state, series, timeRange } });
  if (panel.transformations) {
    source = new scenes.SceneDataTransformer({ $data: source, transformations: panel.transformations });
  }
  const { title, description, options, fieldConfig, gridPos: { x, y, w, h } } = panel;
  const body = new scenes.VizPanel({
    key: `panel-${panel.id}`, title, description, options, fieldConfig: fieldConfig ?? { defaults: {}, overrides: [] },
    pluginId: `drawn-${panel.type}`, $data: source,
  });
  return new scenes.SceneGridItem({ key: `item-${panel.id}`, x, y, width: w, height: h, body });
}

function layout(dashboard: Any, answers: Any, timeRange: Any) {
  const children: Any[] = [];
  let row: Any = null;
  for (const panel of dashboard.panels) {
    if (panel.type === 'row') {
      row = new scenes.SceneGridRow({ key: `row-${panel.id}`, title: panel.title, x: 0, y: panel.gridPos.y, children: [] });
      children.push(row);
    } else if (row) {
      row.setState({ children: [...row.state.children, item(panel, answers, timeRange)] });
    } else {
      children.push(item(panel, answers, timeRange));
    }
  }
  return new scenes.SceneGridLayout({ children, isDraggable: false, isResizable: false });
}

class Boundary extends Component<{ children: ReactNode }> {
  componentDidCatch(error: Error) { console.error(`cannot draw: ${error.stack}`); }
  render() { return this.props.children; }
}

async function draw() {
  const { dashboard, answers, from, to } = await (await fetch('page.json')).json();
  const theme = data.createTheme({ colors: { mode: 'dark' } });
  Object.assign(runtime.config, { theme2: theme, theme: theme.v1, featureToggles: {} });
  registerFields();
  registerServices();
  registerPanels();
  const raw = { from: data.dateTime(from * 1000), to: data.dateTime(to * 1000) };
  const scene = new scenes.EmbeddedScene({
    $timeRange: new scenes.SceneTimeRange({ from: raw.from.toISOString(), to: raw.to.toISOString() }),
    body: layout(dashboard, answers, { ...raw, raw }),
  });
  const Theme: Any = data.ThemeContext;
  const style = { background: theme.colors.background.canvas, color: theme.colors.text.primary, padding: 16 };
  createRoot(document.getElementById('root')!).render(
    <Boundary><MemoryRouter><Theme.Provider value={theme}>
      <ui.GlobalStyles /><ui.PortalContainer />
      <div style={style}><h2>{dashboard.title}</h2><scene.Component model={scene} /></div>
    </Theme.Provider></MemoryRouter></Boundary>);
  document.body.dataset.panels = String(dashboard.panels.filter((panel: Any) => panel.type !== 'row').length);
}

draw().catch((error) => console.error(`cannot draw: ${error.stack}`));
